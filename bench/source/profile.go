package source

// The limits of a Send connector of Exchange, by default.
const (
	exchangeConnections = 20 // MaxPerDomainOutboundConnections
	exchangeMessages    = 20 // SmtpMaxMessagesPerConnection
)

// Exchange is how one Exchange server sends to each target: 20 connections,
// renewed after 20 messages, commands together where PIPELINING is offered, BDAT
// where CHUNKING is; sizes are [MixedSizes], and a message has a few recipients
// at times. Set Rate and clear Concurrency for the open model, STARTTLS for
// servers that encrypt.
func Exchange(targets ...string) Config {
	return Config{
		Targets:            targets,
		Concurrency:        exchangeConnections * max(len(targets), 1),
		MessagesPerSession: exchangeMessages,
		Size:               MixedSizes(),
		Recipients:         MixedRecipients(),
		Pipelining:         true,
		BDAT:               true,
	}
}
