package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// controllerAPI is mpbox's REST API as anybody would use it, from inside the noc
// namespace. Only what the demo reads is declared.
type controllerAPI struct{ client http.Client }

func (l *Lab) api() *controllerAPI {
	return &controllerAPI{http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
				err = within(l.Noc(), func() error {
					c, err = (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, addr)
					return err
				})
				return c, err
			},
		},
	}}
}

type apiConnection struct {
	ID       string       `json:"id"`
	Token    string       `json:"token"`
	Demand   string       `json:"demand"`
	Subflows []apiSubflow `json:"subflows"`
}

type apiSubflow struct {
	ID     string    `json:"id"`
	Kind   string    `json:"kind"`
	Client string    `json:"client"`
	Server string    `json:"server"`
	Since  time.Time `json:"since"`
	Listed time.Time `json:"listed"`
}

type apiBinding struct {
	Connection string    `json:"connection"`
	Subflow    string    `json:"subflow"`
	Direction  string    `json:"direction"`
	PE         string    `json:"pe"`
	LSP        string    `json:"lsp"`
	Default    bool      `json:"default"`
	State      string    `json:"state"`
	Reason     string    `json:"reason"`
	Verified   time.Time `json:"verified_at"`
	Route      []string  `json:"route"`
}

type apiLSP struct {
	Name    string `json:"name"`
	Ingress string `json:"ingress"`
	Egress  string `json:"egress"`
	Owned   bool   `json:"owned"`
	State   string `json:"state"`
}

type apiNamed struct {
	Name      string `json:"name"`
	Ready     bool   `json:"ready"`
	Reachable bool   `json:"reachable"`
}

func (a *controllerAPI) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("ask mpbox: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+apiAddress+path, body)
	if err != nil {
		return fmt.Errorf("ask mpbox: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask mpbox: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return fmt.Errorf("ask mpbox: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("ask mpbox: %s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(b))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("ask mpbox: %s %s: %w", method, path, err)
	}
	return nil
}

// apiList reads all pages of a list.
func apiList[T any](ctx context.Context, a *controllerAPI, path string) ([]T, error) {
	var all []T
	for after := ""; ; {
		var page struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		if err := a.do(ctx, http.MethodGet, path+"?after="+after, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if after = page.Next; after == "" {
			return all, nil
		}
	}
}

func (a *controllerAPI) setMode(ctx context.Context, mode string) error {
	return a.do(ctx, http.MethodPut, "/v1/mode", map[string]string{"mode": mode}, nil)
}

// ready tells whether all bridges and PEs are at mpbox's hand.
func (a *controllerAPI) ready(ctx context.Context, l *Lab) error {
	for _, what := range []struct {
		path string
		want int
		ok   func(apiNamed) bool
	}{
		{"/v1/datapaths", len(l.Edges), func(n apiNamed) bool { return n.Ready }},
		{"/v1/pes", len(l.PEs), func(n apiNamed) bool { return n.Reachable }},
	} {
		items, err := apiList[apiNamed](ctx, a, what.path)
		if err != nil {
			return err
		}
		n := 0
		for _, i := range items {
			if what.ok(i) {
				n++
			}
		}
		if n < what.want {
			return fmt.Errorf("mpbox: %s: %d of %d are ready", what.path, n, what.want)
		}
	}
	return nil
}

// connection finds a connection by the server's token.
func (a *controllerAPI) connection(ctx context.Context, token string) (apiConnection, error) {
	cs, err := apiList[apiConnection](ctx, a, "/v1/connections")
	if err != nil {
		return apiConnection{}, err
	}
	for _, c := range cs {
		if c.Token == token {
			return c, nil
		}
	}
	return apiConnection{}, fmt.Errorf("mpbox does not know connection %s (it knows %d)", token, len(cs))
}

// bindings gives the bindings of a connection.
func (a *controllerAPI) bindings(ctx context.Context, connection string) ([]apiBinding, error) {
	all, err := apiList[apiBinding](ctx, a, "/v1/bindings")
	if err != nil {
		return nil, err
	}
	var own []apiBinding
	for _, b := range all {
		if b.Connection == connection {
			own = append(own, b)
		}
	}
	return own, nil
}
