package notifications

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// smtpTimeout bounds each of: reaching the server, handing one mail over.
const smtpTimeout = 15 * time.Second

// SMTP is the carrier that hands mails to a mail server. Connections are kept
// between mails, as many as are used at once.
//
// Between the server's acceptance and the record of it in the document lies a
// moment in which a crash repeats the mail: SMTP offers nothing to close it. The
// repeat has the same Message-ID, by which mail systems recognise it.
type SMTP struct {
	from    mail.Address
	host    string
	options []gomail.Option
	idle    chan *gomail.Client
}

// OpenSMTP reads an address such as
//
//	smtp://user:password@mail.example.tn:587?from=Masar+<masar@example.tn>
//	smtps://user:password@mail.example.tn:465?from=masar@example.tn
//
// "smtps" speaks TLS from the start. "smtp" turns to TLS by STARTTLS: always
// where a password is given and the server is on another machine, otherwise
// when the server offers it; "starttls=required", "optional" or "off" decides
// otherwise. Nothing is sent yet. No error quotes the password.
func OpenSMTP(address string) (*SMTP, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("notifications: MASAR_SMTP_URL is not an address such as smtp://user:password@host:587?from=masar@example.tn")
	}
	s := &SMTP{host: u.Hostname(), idle: make(chan *gomail.Client, senders)}
	if s.host == "" {
		return nil, errors.New("notifications: MASAR_SMTP_URL names no host")
	}
	if s.from, err = sender(u.Query().Get("from")); err != nil {
		return nil, fmt.Errorf("%w: MASAR_SMTP_URL needs ?from=", err)
	}
	port, err := portOf(u)
	if err != nil {
		return nil, err
	}
	s.options = []gomail.Option{gomail.WithPort(port), gomail.WithTimeout(smtpTimeout)}
	policy, err := startTLS(u)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "smtps":
		s.options = append(s.options, gomail.WithSSL())
	case "smtp":
		s.options = append(s.options, gomail.WithTLSPolicy(policy))
	default:
		return nil, fmt.Errorf("notifications: MASAR_SMTP_URL begins with %q, want smtp or smtps", u.Scheme)
	}
	if password, ok := u.User.Password(); ok {
		// By default a password is never sent in clear; where encryption is not
		// asked for, it may be.
		login := gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover)
		if u.Scheme == "smtp" && policy != gomail.TLSMandatory {
			login = gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1,
				gomail.SMTPAuthCramMD5, gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc)
		}
		s.options = append(s.options, login, gomail.WithUsername(u.User.Username()), gomail.WithPassword(password))
	}
	if _, err := s.client(); err != nil {
		return nil, errors.New("notifications: MASAR_SMTP_URL is not accepted: check host, port and password")
	}
	return s, nil
}

func portOf(u *url.URL) (int, error) {
	switch {
	case u.Port() != "":
		port, err := strconv.Atoi(u.Port())
		if err != nil || port < 1 || port > 65535 {
			return 0, fmt.Errorf("notifications: MASAR_SMTP_URL has port %q, want 1 to 65535", u.Port())
		}
		return port, nil
	case u.Scheme == "smtps":
		return 465, nil
	default:
		return 587, nil
	}
}

func startTLS(u *url.URL) (gomail.TLSPolicy, error) {
	switch choice := u.Query().Get("starttls"); choice {
	case "required":
		return gomail.TLSMandatory, nil
	case "optional":
		return gomail.TLSOpportunistic, nil
	case "off":
		return gomail.NoTLS, nil
	case "":
		if _, password := u.User.Password(); password && !loopback(u.Hostname()) {
			return gomail.TLSMandatory, nil
		}
		return gomail.TLSOpportunistic, nil
	default:
		return 0, fmt.Errorf("notifications: MASAR_SMTP_URL has starttls=%q, want required, optional or off", choice)
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// client prepares a connection without opening it.
func (s *SMTP) client() (*gomail.Client, error) { return gomail.NewClient(s.host, s.options...) }

// Name is what the message documents record as their channel.
func (s *SMTP) Name() string { return "smtp" }

// From is the sender named in the address of the server.
func (s *SMTP) From() mail.Address { return s.from }

// Deliver hands the mail to the server and returns when the server has taken
// responsibility for it.
func (s *SMTP) Deliver(ctx context.Context, m Mail) error {
	msg, err := m.compose()
	if err != nil {
		return err
	}
	client, kept, err := s.connect(ctx)
	if err != nil {
		return err
	}
	err = client.Send(msg)
	if kept && lost(err) && !msg.IsDelivered() {
		// The server closed the kept connection meanwhile: a new one decides.
		_ = client.Close()
		if client, err = s.dial(ctx); err != nil {
			return err
		}
		err = client.Send(msg)
	}
	if err == nil || failure(err) != nil && answered(err) != 0 {
		s.keep(client)
	} else {
		_ = client.Close()
	}
	if msg.IsDelivered() {
		return nil // what failed came after the server's acceptance
	}
	return failure(err)
}

// connect takes a kept connection or opens one.
func (s *SMTP) connect(ctx context.Context) (client *gomail.Client, kept bool, err error) {
	select {
	case client := <-s.idle:
		return client, true, nil
	default:
		client, err := s.dial(ctx)
		return client, false, err
	}
}

// dial opens a connection. Every failure here is the server's or the
// configuration's, never the message's.
func (s *SMTP) dial(ctx context.Context) (*gomail.Client, error) {
	client, err := s.client()
	if err == nil {
		err = client.DialWithContext(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOutage, err)
	}
	return client, nil
}

func (s *SMTP) keep(client *gomail.Client) {
	select {
	case s.idle <- client:
	default:
		_ = client.Close()
	}
}

// Close ends the kept connections.
func (s *SMTP) Close() error {
	for {
		select {
		case client := <-s.idle:
			_ = client.Close() // the server may have gone first
		default:
			return nil
		}
	}
}

// lost says whether the connection failed before the message was offered.
func lost(err error) bool {
	var sent *gomail.SendError
	return errors.As(err, &sent) && sent.Reason == gomail.ErrConnCheck
}

// answered is the server's answer, or 0 when it did not answer.
func answered(err error) int {
	var sent *gomail.SendError
	if !errors.As(err, &sent) {
		return 0
	}
	return sent.ErrorCode()
}

// failure says what a failed hand-over means. The library's errors quote the
// recipient, so only the step and the codes are kept.
func failure(err error) error {
	if err == nil {
		return nil
	}
	var sent *gomail.SendError
	if !errors.As(err, &sent) {
		return errors.New("the mail could not be handed over")
	}
	answer := fmt.Errorf("%s: %d %s", sent.Reason, sent.ErrorCode(), sent.EnhancedStatusCode())
	switch c := sent.ErrorCode(); {
	case c == 530, c == 534, c == 535, c == 538:
		return fmt.Errorf("%w: the server wants other credentials: %w", ErrOutage, answer)
	case c >= 500:
		return fmt.Errorf("%w: %w", ErrRefused, answer)
	case sent.Reason == gomail.ErrConnCheck:
		return fmt.Errorf("%w: %w", ErrOutage, answer)
	default: // 4xx, or the connection broke in the middle
		return answer
	}
}
