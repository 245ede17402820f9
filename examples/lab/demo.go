package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// DemoResult is what the demo found. Goodput is measured at the receiving
// application; of upload and download the lower counts.
type DemoResult struct {
	Topology string `json:"topology"`
	PE       string `json:"pe"`
	Steer    string `json:"steer"`
	// Subflows were opened by the hosts, DetectedSubflows are those of them that
	// mpbox listed.
	Subflows         int     `json:"subflows"`
	DetectedSubflows int     `json:"detected_subflows"`
	MaxFlow          uint64  `json:"max_flow_bps"`
	Before           float64 `json:"goodput_before_bps"`
	After            float64 `json:"goodput_after_bps"`
	UploadBefore     float64 `json:"upload_before_bps"`
	UploadAfter      float64 `json:"upload_after_bps"`
	DownloadBefore   float64 `json:"download_before_bps"`
	DownloadAfter    float64 `json:"download_after_bps"`
	// Disjointness is judged by where packets were seen, of the worse direction.
	Requested          string `json:"disjointness_requested"`
	DisjointnessBefore string `json:"disjointness_before"`
	DisjointnessAfter  string `json:"disjointness_after"`
	// LSPsCreated counts both directions.
	LSPsCreated   int            `json:"lsps_created"`
	LSPsByIngress map[string]int `json:"lsps_created_by_ingress"`
	// DetectMS is from a JOIN's SYN at the tap until the subflow was in the API, of the
	// join that took longest. SteerMS is from the first JOIN's SYN until the last binding
	// was verified: on the PE and, where the edge bridge counts or marks the flow, there.
	// Steered by class, flows need nothing new on a PE that has the classes already.
	DetectMS float64     `json:"detect_ms"`
	SteerMS  float64     `json:"steer_ms"`
	Routes   []DemoRoute `json:"routes"`
}

// DemoRoute is where one direction of a subflow was seen after it was moved.
type DemoRoute struct {
	Direction string   `json:"direction"`
	From      string   `json:"from"`
	To        string   `json:"to"`
	LSP       string   `json:"lsp"`
	Links     []string `json:"links"`
}

// DemoOptions change the demo's times; zero values are the defaults.
type DemoOptions struct {
	// Settle is the time before each measurement (3 s), Window that of measuring
	// (10 s).
	Settle, Window time.Duration
	// Keep leaves the lab up.
	Keep bool
}

// Demo runs the main job end to end: a lab, mpbox in it, MPTCP connections that
// all ride one LSP, and the same with mpbox at work.
func Demo(ctx context.Context, n *Network, o Options, d DemoOptions, progress Progress) (res DemoResult, err error) {
	if d.Settle == 0 {
		d.Settle = 3 * time.Second
	}
	if d.Window == 0 {
		d.Window = 10 * time.Second
	}
	o.Mode = "observe"
	l, err := Up(ctx, n, o, progress)
	if err != nil {
		return res, err
	}
	if !d.Keep {
		defer func() {
			down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			err = errors.Join(err, l.Down(down, progress))
		}()
	}
	r := &demo{Lab: l, opts: d, progress: progress, api: l.api()}
	if err := r.run(ctx); err != nil {
		return r.res, fmt.Errorf("run demo: %w%s", err, r.logTail())
	}
	return r.res, nil
}

type demo struct {
	*Lab
	opts     DemoOptions
	progress Progress
	api      *controllerAPI
	res      DemoResult
}

func (r *demo) logFile() string { return filepath.Join(r.RunDir, "mpbox.log") }

func (r *demo) run(ctx context.Context) error {
	o := r.Options
	r.res = DemoResult{
		Topology: r.Net.Name, PE: o.PE, Steer: o.Steer, Subflows: o.Subflows, MaxFlow: r.MaxFlow, Requested: r.Net.Lab.Disjoint,
		LSPsByIngress: map[string]int{},
	}
	r.progress.say("mpbox, in mode observe")
	if err := startDetached(ctx, r.logFile(), r.ControllerCommand()); err != nil {
		return err
	}
	if err := poll(ctx, 30*time.Second, func() error { return r.api.ready(ctx, r.Lab) }); err != nil {
		return err
	}
	if err := r.before(ctx); err != nil {
		return err
	}
	return r.after(ctx)
}

// load opens a connection and waits for its subflows and, in the API, for mpbox
// to list them.
func (r *demo) load(ctx context.Context, dir Direction) (*Traffic, error) {
	t, err := r.StartTraffic(ctx, TrafficSpec{Direction: dir})
	if err != nil {
		return nil, err
	}
	if err := t.WaitSubflows(ctx, r.res.Subflows, 10*time.Second); err != nil {
		return nil, errors.Join(err, t.Stop())
	}
	return t, nil
}

// before measures while mpbox only looks on.
func (r *demo) before(ctx context.Context) error {
	r.progress.say("download, all on the default LSP")
	t, err := r.load(ctx, Download)
	if err != nil {
		return err
	}
	r.res.DownloadBefore, err = r.measure(ctx, t)
	if err := errors.Join(err, t.Stop()); err != nil {
		return err
	}
	r.progress.say("upload, all on the default LSP")
	if t, err = r.load(ctx, Upload); err != nil {
		return err
	}
	r.res.UploadBefore, err = r.measure(ctx, t)
	if err == nil {
		_, r.res.DisjointnessBefore, err = r.look(ctx, t)
	}
	r.res.Before = min(r.res.UploadBefore, r.res.DownloadBefore)
	if err != nil {
		return errors.Join(err, t.Stop())
	}
	// The upload goes on: it is moved under way.
	r.progress.say("mpbox to mode auto: subflows move")
	if err := r.api.setMode(ctx, "auto"); err != nil {
		return errors.Join(err, t.Stop())
	}
	if _, err := r.waitVerified(ctx, t); err != nil {
		return errors.Join(err, t.Stop())
	}
	r.progress.say("upload, on disjoint LSPs")
	r.res.UploadAfter, err = r.measure(ctx, t)
	return errors.Join(err, t.Stop())
}

// after measures a connection that is made while mpbox is at work.
func (r *demo) after(ctx context.Context) error {
	r.progress.say("a new connection: found and steered")
	t, err := r.load(ctx, Download)
	if err != nil {
		return err
	}
	err = r.judge(ctx, t)
	return errors.Join(err, t.Stop())
}

func (r *demo) judge(ctx context.Context, t *Traffic) error {
	conn, err := r.waitVerified(ctx, t)
	if err != nil {
		return err
	}
	r.progress.say("download, on disjoint LSPs")
	if r.res.DownloadAfter, err = r.measure(ctx, t); err != nil {
		return err
	}
	r.res.After = min(r.res.UploadAfter, r.res.DownloadAfter)
	r.res.DetectedSubflows = len(conn.Subflows)
	r.times(conn)
	// What waited in the queues of the old path still leaves for a while.
	if err := poll(ctx, 15*time.Second, func() error {
		if r.res.Routes, r.res.DisjointnessAfter, err = r.look(ctx, t); err != nil {
			return err
		}
		return r.compare(ctx, conn.apiConnection)
	}); err != nil {
		return err
	}
	lsps, err := apiList[apiLSP](ctx, r.api, "/v1/lsps")
	if err != nil {
		return err
	}
	for _, p := range lsps {
		if p.Owned {
			r.res.LSPsCreated++
			r.res.LSPsByIngress[p.Ingress]++
		}
	}
	return nil
}

func (r *demo) measure(ctx context.Context, t *Traffic) (float64, error) {
	if !sleep(ctx, r.opts.Settle) {
		return 0, ctx.Err()
	}
	m, err := t.Measure(ctx, r.opts.Window)
	return m.BPS, err
}

// verified is a connection whose bindings are all verified.
type verified struct {
	apiConnection
	bindings []apiBinding
}

// waitVerified waits until every subflow has a verified binding each way.
func (r *demo) waitVerified(ctx context.Context, t *Traffic) (verified, error) {
	conns, err := t.Subflows()
	if err != nil {
		return verified{}, err
	}
	var v verified
	err = poll(ctx, time.Minute, func() error {
		var err error
		if v.apiConnection, err = r.api.connection(ctx, conns[0].Token); err != nil {
			return err
		}
		if v.bindings, err = r.api.bindings(ctx, v.ID); err != nil {
			return err
		}
		n := 0
		for _, b := range v.bindings {
			if b.State == "verified" {
				n++
			} else if b.Reason != "" {
				err = fmt.Errorf("%s, %s", b.PE, b.Reason)
			}
		}
		if want := 2 * r.res.Subflows; n < want {
			return errors.Join(fmt.Errorf("connection %s: %d of %d bindings are verified", v.Token, n, want), err)
		}
		// The connection may have been asked for before its last subflow was found.
		if len(v.Subflows) < r.res.Subflows {
			return fmt.Errorf("connection %s: %d of %d subflows are listed", v.Token, len(v.Subflows), r.res.Subflows)
		}
		return nil
	})
	return v, err
}

// times takes the times of detection and steering from the API's own stamps.
func (r *demo) times(v verified) {
	first := time.Time{}
	for _, s := range v.Subflows {
		if s.Kind != "join" {
			continue
		}
		r.res.DetectMS = max(r.res.DetectMS, ms(s.Listed.Sub(s.Since)))
		if first.IsZero() || s.Since.Before(first) {
			first = s.Since
		}
	}
	for _, b := range v.bindings {
		if !first.IsZero() && !b.Verified.IsZero() {
			r.res.SteerMS = max(r.res.SteerMS, ms(b.Verified.Sub(first)))
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// look finds out where the packets of each subflow really are, both ways, and how
// disjoint that is.
func (r *demo) look(ctx context.Context, t *Traffic) ([]DemoRoute, string, error) {
	conns, err := t.Subflows()
	if err != nil {
		return nil, "", err
	}
	var counts FlowCounts
	for from := time.Now(); time.Since(from) < 10*time.Second && !counts.saw(conns[0].Subflows); { // one may be backing off
		if counts, err = r.CountFlows(ctx, time.Second); err != nil {
			return nil, "", err
		}
	}
	var routes []DemoRoute
	level := levels[len(levels)-1]
	for _, direction := range []string{"client to server", "server to client"} {
		var links [][]string
		for _, s := range conns[0].Subflows {
			from, to := s.Client, s.Server
			if direction != "client to server" {
				from, to = to, from
			}
			route := DemoRoute{Direction: direction, From: from.String(), To: to.String(), Links: counts.links(from, to)}
			routes = append(routes, route)
			links = append(links, route.Links)
		}
		level = worse(level, r.disjointness(links, r.res.Requested))
	}
	return routes, level, nil
}

// saw tells whether packets of each subflow were seen, both ways.
func (f FlowCounts) saw(subflows []Tuple) bool {
	return !slices.ContainsFunc(subflows, func(s Tuple) bool { return len(f.Of(s.Client, s.Server)) == 0 || len(f.Of(s.Server, s.Client)) == 0 })
}

// links gives the links on which a flow was seen; a few packets that were under
// way when it was moved do not count.
func (f FlowCounts) links(from, to netip.AddrPort) []string {
	var most uint64
	for _, n := range f.Of(from, to) {
		most = max(most, n)
	}
	links := []string{}
	for k, n := range f.Of(from, to) {
		if n*20 > most {
			links = append(links, k.Link)
		}
	}
	slices.Sort(links)
	return links
}

// compare holds what the API says of each binding against where the packets
// were seen.
func (r *demo) compare(ctx context.Context, conn apiConnection) error {
	bindings, err := r.api.bindings(ctx, conn.ID)
	if err != nil {
		return err
	}
	for _, s := range conn.Subflows {
		for _, b := range bindings {
			from, to := s.Client, s.Server
			if b.Direction == "s2c" {
				from, to = to, from
			}
			i := slices.IndexFunc(r.res.Routes, func(d DemoRoute) bool { return d.From == from && d.To == to })
			if b.Subflow != s.ID || i < 0 {
				continue
			}
			r.res.Routes[i].LSP = b.LSP
			want := r.linkNames(b.Route)
			if b.State == "verified" && len(want) > 0 && !slices.Equal(want, r.res.Routes[i].Links) {
				return fmt.Errorf("subflow %s to %s: mpbox says that it rides %v, its packets were seen on %v", from, to, want, r.res.Routes[i].Links)
			}
		}
	}
	return nil
}

// linkNames turns the controller's names of links, which are "a-b" by its own
// order, into the topology file's.
func (r *demo) linkNames(route []string) []string {
	names := []string{}
	for _, n := range route {
		for _, k := range r.Links {
			if n == k.Name || n == k.A.Node+"-"+k.B.Node || n == k.B.Node+"-"+k.A.Node {
				names = append(names, k.Name)
				break
			}
		}
	}
	slices.Sort(names)
	return names
}

// logTail gives the end of mpbox's log, for an error.
func (r *demo) logTail() string {
	b, err := os.ReadFile(r.logFile())
	if err != nil || len(b) == 0 {
		return ""
	}
	return "\nThe end of mpbox's log:\n" + string(b[max(0, len(b)-3000):])
}
