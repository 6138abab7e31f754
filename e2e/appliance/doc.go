// Package appliance boots the appliance's image and uses it as an administrator
// would: two machines in QEMU, on a switch in a network namespace, with relays,
// mail servers and strangers beside them.
//
// Its tests need bin/appliance, root and some minutes, and so have a build tag:
//
//	make appliance e2e-appliance
package appliance
