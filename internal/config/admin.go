package config

import "net/netip"

// Admin is the HTTP server that answers people, Prometheus and keepalived.
type Admin struct {
	// Address is where it listens, IP:port. Default 127.0.0.1:9925. An address
	// that is not loopback needs TokenFile.
	Address netip.AddrPort `koanf:"address"`

	// TokenFile is the path of a file that holds the token asked for before
	// anything is changed, and off loopback before anything is told. Takes effect
	// at a start only, as all of this section. Default "": changes are open, on
	// loopback only.
	TokenFile string `koanf:"token_file"`

	// TLS makes it HTTPS. The files are read again at a reload, so that a
	// certificate may be renewed. Default: HTTP.
	TLS AdminTLS `koanf:"tls"`
}

// AdminTLS is the certificate of the HTTP server. Both files are needed, or none.
type AdminTLS struct {
	// Cert is the path of a PEM file with the certificate, and the chain below it.
	// Default "": HTTP.
	Cert string `koanf:"cert"`

	// Key is the path of a PEM file with the certificate's private key. Default "":
	// HTTP.
	Key string `koanf:"key"`
}

// On reports whether the server is to speak TLS.
func (t AdminTLS) On() bool { return t.Cert != "" }

// LoadAdmin reads from the file at path and the variables of environ what the
// HTTP server is to be. Whatever else is wrong in the file does not matter: who
// wants to ask the program that runs must be able to, while the file is being
// changed.
func LoadAdmin(path string, environ []string) (Admin, error) {
	data, err := readFile(path)
	if err != nil {
		return Admin{}, err
	}
	cfg, r, err := read(path, data, environ)
	if err != nil {
		return Admin{}, err
	}
	return r.admin(cfg)
}

// admin is what was read of the section, unless there are errors in it.
func (r *report) admin(cfg *Config) (Admin, error) {
	errs, _ := r.result()
	var mine Errors
	for _, p := range errs {
		if isWithin(p.Key, "admin") {
			mine = append(mine, p)
		}
	}
	if len(mine) > 0 {
		return Admin{}, mine
	}
	return cfg.Admin, nil
}

// isWithin reports whether a key is that of a section or lies below it.
func isWithin(key, section string) bool {
	for ; key != ""; key = parent(key) {
		if key == section {
			return true
		}
	}
	return false
}

func (r *report) checkAdmin(a Admin) {
	r.path("admin.token_file", a.TokenFile)
	r.path("admin.tls.cert", a.TLS.Cert)
	r.path("admin.tls.key", a.TLS.Key)
	if a.Address.IsValid() && !a.Address.Addr().IsLoopback() && a.TokenFile == "" && !r.failed("admin.token_file") {
		r.fail("admin.address", "an address off loopback needs admin.token_file: "+
			"whoever reaches it could drain every relay")
	}
	both := "required: admin.tls has both cert and key, or neither"
	switch {
	case a.TLS.Cert == "" && a.TLS.Key != "":
		r.fail("admin.tls.cert", both)
	case a.TLS.Key == "" && a.TLS.Cert != "":
		r.fail("admin.tls.key", both)
	}
}
