package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mpbox/controller/api"
)

const defaultServer = "http://127.0.0.1:8080"

// client asks a running mpbox.
type client struct {
	out                         output
	server, tokenFile           string
	caFile, certFile, clientKey string

	base  string
	token string
	http  *http.Client
}

// addFlags gives cmd and its subcommands the flags of a client.
func (c *client) addFlags(cmd *cobra.Command) { c.flags(cmd.PersistentFlags()) }

func (c *client) flags(f *pflag.FlagSet) {
	f.StringVar(&c.server, "server", "", "mpbox to ask: http://host:port, https://host:port or unix:/path (default $MPBOX_SERVER, else "+defaultServer+")")
	f.StringVar(&c.tokenFile, "token-file", "", "file with the token to show (default $MPBOX_TOKEN_FILE)")
	f.StringVar(&c.caFile, "ca", "", "PEM file with the CA of the server")
	f.StringVar(&c.certFile, "cert", "", "PEM file with a certificate to show")
	f.StringVar(&c.clientKey, "key", "", "PEM file with its private key")
	c.out.flags(f)
}

// open makes the client ready; nothing is sent yet.
func (c *client) open() error {
	server := firstOf(c.server, os.Getenv("MPBOX_SERVER"), defaultServer)
	tr := &http.Transport{TLSHandshakeTimeout: 10 * time.Second}
	if path, ok := strings.CutPrefix(server, "unix:"); ok {
		c.base = "http://mpbox"
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(path, "//"))
		}
	} else {
		u, err := url.Parse(server)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return usagef("--server %s: want http://host:port, https://host:port or unix:/path", server)
		}
		c.base = strings.TrimSuffix(server, "/")
	}
	c.server = server
	conf, err := c.tls()
	if err != nil {
		return err
	}
	tr.TLSClientConfig = conf
	if file := firstOf(c.tokenFile, os.Getenv("MPBOX_TOKEN_FILE")); file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read token: %w", err)
		}
		// A server's own file works too: the last word of its first token line.
		for _, line := range strings.Split(string(raw), "\n") {
			if fields := strings.Fields(line); len(fields) > 0 && !strings.HasPrefix(fields[0], "#") {
				c.token = fields[len(fields)-1]
				break
			}
		}
		if c.token == "" {
			return fmt.Errorf("read token: %s holds none", file)
		}
	}
	c.http = &http.Client{Transport: tr}
	return nil
}

func (c *client) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.caFile != "" {
		pem, err := os.ReadFile(c.caFile)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA: %s holds no certificate", c.caFile)
		}
	}
	if (c.certFile == "") != (c.clientKey == "") {
		return nil, usagef("--cert and --key go together")
	}
	if c.certFile != "" {
		cert, err := tls.LoadX509KeyPair(c.certFile, c.clientKey)
		if err != nil {
			return nil, fmt.Errorf("read certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// statusError is an answer that says no.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// request sends one request and gives the answer's body, to be closed.
func (c *client) request(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	if c.http == nil {
		if err := c.open(); err != nil {
			return nil, err
		}
	}
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		payload = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return nil, usagef("--server %s: %v", c.server, err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if answer.StatusCode >= 300 {
		defer func() { _ = answer.Body.Close() }()
		return nil, c.refused(answer)
	}
	return answer.Body, nil
}

// unreachable says what to do when there is no answer.
func (c *client) unreachable(err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	remedy := "check --server (or MPBOX_SERVER)"
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		remedy = "mpbox is not running there; start it with mpbox run --config FILE, or name another with --server or MPBOX_SERVER"
	} else if errors.Is(err, os.ErrPermission) {
		remedy = "the socket is not yours to use: be its owner, or in its group"
	} else if text := tlsRemedy(err); text != "" {
		remedy = text
	}
	return fmt.Errorf("ask mpbox at %s: %w: %s", c.server, err, remedy)
}

// tlsRemedy says what to do when there is no TLS session; "" where err is another one.
func tlsRemedy(err error) string {
	var name x509.HostnameError
	var certificate *tls.CertificateVerificationError
	var alert *net.OpError
	switch {
	case errors.As(err, &name):
		return "give --server a name of its certificate"
	case errors.As(err, &certificate):
		return "name the CA of its certificate: --ca FILE"
	case errors.As(err, &alert) && alert.Op == "remote error":
		return "show a certificate that it takes: --cert FILE --key FILE"
	}
	return ""
}

// refused turns a problem (RFC 9457) into words.
func (c *client) refused(answer *http.Response) error {
	var p huma.ErrorModel
	raw, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if json.Unmarshal(raw, &p) != nil || p.Detail == "" {
		return &statusError{answer.StatusCode, fmt.Sprintf("%s answers %s: is that an mpbox? check --server", c.server, answer.Status)}
	}
	text := p.Detail
	for _, d := range p.Errors {
		where := strings.TrimPrefix(strings.TrimPrefix(d.Location, "body."), "query.")
		text += fmt.Sprintf("\n  %s: %s", where, d.Message)
	}
	if answer.StatusCode == http.StatusUnauthorized {
		text += "\nUse --token-file or MPBOX_TOKEN_FILE"
	}
	return &statusError{answer.StatusCode, text}
}

// call sends a request and reads the answer into v.
func (c *client) call(ctx context.Context, method, path string, body, v any) error {
	answer, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Close() }()
	if err := json.NewDecoder(answer).Decode(v); err != nil {
		return fmt.Errorf("read answer of %s: %w", c.server, err)
	}
	return nil
}

func (c *client) get(ctx context.Context, path string, v any) error {
	return c.call(ctx, http.MethodGet, path, nil, v)
}

// listFlags are the filters of a list.
type listFlags struct {
	vpn, pe, state, since string
	limit                 int
}

func (l *listFlags) addFlags(cmd *cobra.Command, names ...string) {
	f := cmd.Flags()
	for _, n := range names {
		switch n {
		case "vpn":
			f.StringVar(&l.vpn, n, "", "only those of this VPN")
		case "pe":
			f.StringVar(&l.pe, n, "", "only those that concern this PE")
		case "state":
			f.StringVar(&l.state, n, "", "only those in this state")
		case "since":
			f.StringVar(&l.since, n, "", "only those that began or changed since: a time, or how long ago (10m)")
		}
	}
	f.IntVar(&l.limit, "limit", 1000, "show at most so many; 0: all")
}

// listAll follows pages up to the limit. more tells that there are others.
func listAll[T any](ctx context.Context, c *client, path string, l listFlags) (page api.ListBody[T], err error) {
	if l.limit < 0 {
		return page, usagef("--limit %d: want 0 or more", l.limit)
	}
	v := url.Values{}
	for key, value := range map[string]string{"vpn": l.vpn, "pe": l.pe, "state": l.state, "since": l.since} {
		if value != "" {
			v.Set(key, value)
		}
	}
	page.Items = api.List[T]{}
	for {
		size := api.MaxLimit
		if l.limit > 0 {
			size = min(size, l.limit-len(page.Items))
		}
		v.Set("limit", strconv.Itoa(size))
		var next api.ListBody[T]
		if err := c.get(ctx, path+"?"+v.Encode(), &next); err != nil {
			return page, err
		}
		page.Items = append(page.Items, next.Items...)
		page.Next = next.Next
		if next.Next == "" || l.limit > 0 && len(page.Items) >= l.limit {
			return page, nil
		}
		v.Set("after", next.Next)
	}
}

// showList prints a list as one JSON document or as a table.
func showList[T any](cmd *cobra.Command, c *client, path string, l listFlags, header []string, row func(T) [][]string) error {
	asJSON, err := c.out.isJSON()
	if err != nil {
		return err
	}
	page, err := listAll[T](cmd.Context(), c, path, l)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), page)
	}
	var rows [][]string
	for _, it := range page.Items {
		rows = append(rows, row(it)...)
	}
	if err := printTable(cmd.OutOrStdout(), header, rows); err != nil {
		return err
	}
	if page.Next != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "There are more; see --limit.\n")
	}
	return nil
}

// age writes how long ago something was.
func age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return time.Since(t).Round(time.Second).String()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// problemText writes a problem in one line.
func problemText(p *api.Problem) string {
	if p == nil {
		return ""
	}
	text := p.Step + ": " + p.Detail
	if p.Remedy != "" {
		text += " (" + p.Remedy + ")"
	}
	return text
}

// pair is a line of a description.
type pair struct{ key, value string }

// printPairs writes keys and values, one a line; empty values are left out.
func printPairs(w io.Writer, pairs ...pair) error {
	width := 0
	for _, p := range pairs {
		width = max(width, len(p.key))
	}
	for _, p := range pairs {
		if p.value == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, p.key, p.value); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
	return nil
}
