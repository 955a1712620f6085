package notifications

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"
)

// Mail is one text on its way to one address. It lives in memory only.
type Mail struct {
	MessageID string // of the message: also names the mail, so that a repeat can be told
	From      mail.Address
	To        string
	Subject   string
	Body      string
	Language  string
	Date      time.Time // when the message was planned
	News      time.Time // when the news happened
}

// Carrier hands mails over. Deliver returns nil once the mail is accepted, and
// otherwise an error that is one of ErrRefused, ErrAddress, ErrOutage or, for
// anything that may pass, none of them. No error quotes an address.
type Carrier interface {
	Name() string
	From() mail.Address
	Deliver(ctx context.Context, m Mail) error
	Close() error
}

// Kinds of failure that a carrier tells apart.
var (
	ErrRefused = errors.New("the mail server refused the message for good")
	ErrAddress = errors.New("the address is not one that mail can be sent to")
	ErrOutage  = errors.New("the carrier cannot be reached")
)

// header returns the Message-ID: the same for every try of a message.
func (m Mail) header() string {
	_, domain, _ := strings.Cut(m.From.Address, "@")
	return m.MessageID + "@" + domain
}

// compose builds the mail: plain text in UTF-8, quoted-printable for French and
// base64 for Arabic (where quoted-printable would take six bytes a letter).
func (m Mail) compose() (*gomail.Msg, error) {
	to, err := address(m.To)
	if err != nil {
		return nil, err
	}
	encoding := gomail.EncodingQP
	if m.Language == Arabic {
		encoding = gomail.EncodingB64
	}
	msg := gomail.NewMsg(gomail.WithEncoding(encoding), gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(&m.From)
	if err := msg.To(to); err != nil {
		return nil, ErrAddress // the library's error quotes the address
	}
	msg.SetMessageIDWithValue(m.header())
	msg.SetDateWithValue(m.Date.UTC())
	msg.SetGenHeaderPreformatted(gomail.HeaderSubject, subject(m.Subject))
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday answers
	msg.SetGenHeader("Content-Language", m.Language)
	// Lines of a text end with CR LF before they are encoded (RFC 2045, 6.8).
	msg.SetBodyString(gomail.TypeTextPlain, strings.ReplaceAll(m.Body, "\n", "\r\n"))
	return msg, nil
}

// subject encodes a subject in words that leave the first of them room beside
// the header's name (RFC 2047: 76 characters a line). The library would begin
// with an empty line, which many programs show as a leading space.
func subject(text string) string {
	const (
		line = 60 // characters of a subject that needs no encoding
		most = 39 // bytes of a word, 52 characters in base64
	)
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) <= line && !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) && !strings.Contains(text, "=?") {
		return text
	}
	var words []string
	for text != "" {
		end := 0
		for i, c := range text {
			if i+utf8.RuneLen(c) > most {
				break
			}
			end = i + utf8.RuneLen(c)
		}
		words = append(words, "=?UTF-8?B?"+base64.StdEncoding.EncodeToString([]byte(text[:end]))+"?=")
		text = text[end:]
	}
	return strings.Join(words, "\r\n ")
}

// address checks that a text is one bare e-mail address.
func address(text string) (string, error) {
	text = strings.TrimSpace(text)
	parsed, err := mail.ParseAddress(text)
	if err != nil || parsed.Name != "" || parsed.Address != text || strings.ContainsFunc(text, control) {
		return "", ErrAddress
	}
	return parsed.Address, nil
}

func control(c rune) bool { return c < ' ' || c == 0x7f }

// sender reads the address that mails come from.
func sender(text string) (mail.Address, error) {
	from, err := mail.ParseAddress(text)
	if err != nil {
		return mail.Address{}, fmt.Errorf("notifications: %q is not a sender such as \"Masar <masar@example.tn>\"", text)
	}
	return *from, nil
}
