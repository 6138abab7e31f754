package config

// The closed sets of words. Their values are the words of the file.

// Protocol is what a listener expects of its relays.
type Protocol string

// The protocols.
const (
	ProtocolSMTP Protocol = "smtp" // the relay greets first
	ProtocolTCP  Protocol = "tcp"  // nothing is awaited
)

// DeniedReply is what a client that is not allowed gets.
type DeniedReply string

// The replies.
const (
	Deny421  DeniedReply = "421"  // try again later
	Deny554  DeniedReply = "554"  // never
	DenyDrop DeniedReply = "drop" // the connection is closed, nothing is said
)

// ProxyProtocol is the version of the PROXY header sent to a backend.
type ProxyProtocol string

// The versions.
const (
	ProxyNone ProxyProtocol = ""
	ProxyV1   ProxyProtocol = "v1"
	ProxyV2   ProxyProtocol = "v2"
)

// Balance is how a relay is chosen within a tier.
type Balance string

// LeastConnections is weighted least connections, the only rule.
const LeastConnections Balance = "least_connections"

// ProbeType is the dialogue of a health check.
type ProbeType string

// The dialogues.
const (
	ProbeSMTP  ProbeType = "smtp"
	ProbeSMTPS ProbeType = "smtps"
	ProbeTCP   ProbeType = "tcp"
)

// LogLevel is the least severe level written.
type LogLevel string

// The levels.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// LogFormat is how log lines are written.
type LogFormat string

// The formats.
const (
	LogJSON    LogFormat = "json"
	LogConsole LogFormat = "console"
)

// DiscoverKind is the DNS record type backends are found by.
type DiscoverKind string

// The record types. The zero DiscoverKind is no discovery.
const (
	DiscoverMX  DiscoverKind = "mx"
	DiscoverSRV DiscoverKind = "srv"
)
