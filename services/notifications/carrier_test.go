package notifications

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	gomail "github.com/wneessen/go-mail"
	"pgregory.net/rapid"
)

// mailServer is an SMTP server in this process.
type mailServer struct {
	address string
	server  *smtp.Server

	mu       sync.Mutex
	accepted []received
	answer   func(to string) error // nil accepts
	offered  int                   // messages offered, accepted or not
	logins   []string
}

// received is one accepted mail.
type received struct {
	from, to string
	data     []byte
}

func startMail(t testing.TB) *mailServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{address: listener.Addr().String()}
	s.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{server: s}, nil }))
	s.server.AllowInsecureAuth = true
	s.server.ErrorLog = quiet{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = s.server.Close()
		<-done
	})
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

func (s *mailServer) url() string {
	return "smtp://" + s.address + "?from=Masar+%3Cmasar@example.tn%3E"
}

// answers sets what the server says to each message from now on.
func (s *mailServer) answers(f func(to string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

func (s *mailServer) mails() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.accepted...)
}

func (s *mailServer) offers() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offered
}

type mailSession struct {
	server   *mailServer
	from, to string
}

func (m *mailSession) Reset()        { m.from, m.to = "", "" }
func (m *mailSession) Logout() error { return nil }

func (m *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	m.from = from
	return nil
}

func (m *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	m.to = to
	return nil
}

func (m *mailSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.server.mu.Lock()
	m.server.offered++
	answer := m.server.answer
	m.server.mu.Unlock()
	if answer != nil {
		if err := answer(m.to); err != nil {
			return err
		}
	}
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	m.server.accepted = append(m.server.accepted, received{m.from, m.to, data})
	return nil
}

func (m *mailSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (m *mailSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "secret" {
			return smtp.ErrAuthFailed
		}
		m.server.mu.Lock()
		defer m.server.mu.Unlock()
		m.server.logins = append(m.server.logins, user)
		return nil
	}), nil
}

var (
	later = &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted, ameni@example.tn"}
	never = &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user ameni@example.tn"}
)

// read takes a mail apart.
func readMail(t testing.TB, data []byte) (header mail.Header, subject, body string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	parsed, err := gomail.EMLToMsgFromReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	content, err := parsed.GetParts()[0].GetContent()
	if err != nil {
		t.Fatal(err)
	}
	return m.Header, subject, strings.ReplaceAll(string(content), "\r\n", "\n")
}

func openSMTP(t testing.TB, url string) *SMTP {
	t.Helper()
	carrier, err := OpenSMTP(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = carrier.Close() })
	return carrier
}

func TestMailArrivesAsWritten(t *testing.T) {
	server := startMail(t)
	carrier := openSMTP(t, server.url())
	for _, language := range Languages {
		m := sampleMail(t, StageEntered, language)
		if err := carrier.Deliver(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		got := server.mails()
		last := got[len(got)-1]
		header, subject, body := readMail(t, last.data)
		if subject != m.Subject || strings.TrimRight(body, "\n") != strings.TrimRight(m.Body, "\n") {
			t.Errorf("%s: got %q\n%q\nwant %q\n%q", language, subject, body, m.Subject, m.Body)
		}
		if last.from != "masar@example.tn" || last.to != "ameni@example.tn" {
			t.Errorf("from %q to %q", last.from, last.to)
		}
		for name, want := range map[string]string{
			"Message-Id": "<" + m.MessageID + "@example.tn>", "Auto-Submitted": "auto-generated",
			"Content-Type": "text/plain; charset=UTF-8", "Content-Language": language, "Mime-Version": "1.0",
			"From": `"Masar" <masar@example.tn>`, "To": "<ameni@example.tn>", "Date": "Sun, 22 Nov 2026 23:31:00 +0000",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", language, name, got, want)
			}
		}
		for line := range strings.SplitSeq(string(last.data), "\r\n") {
			if len(line) > 78 || strings.ContainsFunc(line, func(c rune) bool { return c > 126 }) {
				t.Errorf("%s: a line is not fit for old mail servers: %q", language, line)
			}
		}
	}
}

func TestSubject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.StringMatching(`[ -~]{0,100}`), rapid.StringOfN(rapid.RuneFrom(nil, unicode.Arabic, unicode.Latin, unicode.Zs), 0, 100, -1)).Draw(t, "text")
		header := "Subject: " + subject(text)
		for line := range strings.SplitSeq(header, "\r\n") {
			if len(line) > 76 || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Fatalf("a line is not fit for a header: %q", line)
			}
		}
		m, err := mail.ReadMessage(strings.NewReader(header + "\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || got != text && got != strings.TrimSpace(text) {
			t.Fatalf("%q reads back as %q, %v", text, got, err)
		}
	})
}

func TestSMTPErrors(t *testing.T) {
	server := startMail(t)
	carrier := openSMTP(t, server.url())
	m := sampleMail(t, StageEntered, French)
	for name, c := range map[string]struct {
		answer error
		is     error // nil: none of the kinds, so try again
	}{
		"later": {later, nil}, "never": {never, ErrRefused},
		"credentials": {&smtp.SMTPError{Code: 530, Message: "authenticate"}, ErrOutage},
	} {
		server.answers(func(string) error { return c.answer })
		err := carrier.Deliver(t.Context(), m)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || c.is == nil && (errors.Is(err, ErrRefused) || errors.Is(err, ErrAddress)) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "ameni") {
			t.Errorf("%s: the error quotes the address: %v", name, err)
		}
	}
	server.answers(nil)
	if err := carrier.Deliver(t.Context(), m); err != nil {
		t.Errorf("after errors: %v", err)
	}
	for _, to := range []string{"", "nobody", "a@b\r\nBcc: c@d", "Zoé <zoe@example.tn>", "a@b, c@d"} {
		m.To = to
		if err := carrier.Deliver(t.Context(), m); !errors.Is(err, ErrAddress) || to != "" && strings.Contains(err.Error(), to) {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if n := len(server.mails()); n != 1 {
		t.Errorf("%d mails accepted, want 1", n)
	}
}

func TestSMTPKeptConnectionLost(t *testing.T) {
	server := startMail(t)
	carrier := openSMTP(t, server.url())
	m := sampleMail(t, StageEntered, French)
	if err := carrier.Deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	// The server ends the connection that the carrier keeps.
	client := <-carrier.idle
	_ = client.Close()
	carrier.idle <- client
	if err := carrier.Deliver(t.Context(), m); err != nil {
		t.Fatalf("a connection that was closed meanwhile: %v", err)
	}
	if n := len(server.mails()); n != 2 {
		t.Errorf("%d mails, want 2", n)
	}
	if err := server.server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := carrier.Deliver(t.Context(), m); !errors.Is(err, ErrOutage) {
		t.Errorf("without a server: %v", err)
	}
}

func TestSMTPLogin(t *testing.T) {
	server := startMail(t)
	m := sampleMail(t, StageEntered, French)
	good := openSMTP(t, "smtp://masar:secret@"+server.address+"?from=masar@example.tn")
	if err := good.Deliver(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	bad := openSMTP(t, "smtp://masar:wrong@"+server.address+"?from=masar@example.tn")
	if err := bad.Deliver(t.Context(), m); !errors.Is(err, ErrOutage) || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v", err)
	}
	if len(server.logins) != 1 || server.logins[0] != "masar" || len(server.mails()) != 1 {
		t.Errorf("logins %v, %d mails", server.logins, len(server.mails()))
	}
}

func TestOpenSMTP(t *testing.T) {
	for url, want := range map[string]string{
		"smtp://mail.example.tn?from=masar@example.tn":                  "",
		"smtps://u:p@mail.example.tn:465?from=Masar+<masar@example.tn>": "",
		"smtp://u:p@mail.example.tn?from=masar@example.tn&starttls=off": "",
		"http://mail.example.tn?from=masar@example.tn":                  `begins with "http"`,
		"smtp://?from=masar@example.tn":                                 "names no host",
		"smtp://mail.example.tn":                                        "needs ?from=",
		"smtp://mail.example.tn?from=nobody":                            "needs ?from=",
		"smtp://mail.example.tn:99999?from=masar@example.tn":            "port",
		"smtp://mail.example.tn?from=masar@example.tn&starttls=perhaps": "starttls",
		"smtp://u:pass%zz@mail.example.tn?from=masar@example.tn":        "MASAR_SMTP_URL is not",
	} {
		_, err := OpenSMTP(url)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pass%")) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func TestMailboxOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mailbox")
	m := sampleMail(t, PathwayOpened, Arabic)
	for range 3 { // with a restart before each
		box, err := OpenMailbox(dir)
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				if err := box.Deliver(context.Background(), m); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files, want 1: %v", len(files), err)
	}
	if want := "20261122T233000Z-" + m.MessageID + ".eml"; filepath.Base(files[0]) != want {
		t.Errorf("the file is %s, want %s", filepath.Base(files[0]), want)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, subject, body := readMail(t, data); subject != m.Subject || strings.TrimRight(body, "\n") != strings.TrimRight(m.Body, "\n") {
		t.Errorf("got %q %q", subject, body)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".drafts", "*")); err != nil || len(left) != 0 {
		t.Errorf("drafts are left: %v %v", left, err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, files[0]: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s may be read by others: %v %v", path, info.Mode(), err)
		}
	}
}

func TestMailboxFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mailbox")
	box, err := OpenMailbox(dir)
	if err != nil {
		t.Fatal(err)
	}
	// A folder that has gone stands for a disk that is full.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := box.Deliver(t.Context(), sampleMail(t, PathwayOpened, French)); !errors.Is(err, ErrOutage) {
		t.Errorf("got %v", err)
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}
