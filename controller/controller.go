package controller

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mpbox/apps/detector"
	"mpbox/apps/tunnelmanager"
	"mpbox/apps/tunnelmanager/threshold"
	"mpbox/controller/api"
	"mpbox/controller/config"
	"mpbox/controller/store"
	"mpbox/pe-drivers/driver"
	"mpbox/southbound/datapath"
	"mpbox/southbound/openflow"
)

// Controller is mpbox at work. New builds it, Run runs it once.
type Controller struct {
	cfg     *config.Config
	log     *zap.Logger
	version string

	store    *store.Store
	places   *places
	tap      *tap
	mirrors  []*mirror
	flows    *flows
	registry *datapath.Registry
	bridges  *provisioner
	manager  *tunnelmanager.Manager
	bgpls    *linkState // nil where it is not configured
	reader   *flowReader
	broker   *api.Broker
	told     map[detector.ConnID]connectionName // owned by flows: see publishFlow
	api      *api.Server
	system   *system
	tls      *tls.Config
}

// connector makes the sessions to a PE.
type connector func(*config.Config, *config.PE, driver.Names, *zap.Logger) (tunnelmanager.Conn, error)

// New builds all parts from a configuration. It opens the store, and touches no
// network: a PE or bridge that is not there is Run's matter.
func New(cfg *config.Config, version string, log *zap.Logger) (*Controller, error) {
	return build(cfg, version, log, connect)
}

func build(cfg *config.Config, version string, log *zap.Logger, connect connector) (c *Controller, err error) {
	c = &Controller{cfg: cfg, log: log, version: version, places: newPlaces(cfg), broker: api.NewBroker(4096), told: map[detector.ConnID]connectionName{}}
	c.mirrors = newMirrors(cfg, c.places)
	if c.store, err = store.Open(cfg.Store.Path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.store.Close())
		}
	}()
	if c.tls, err = openflowTLS(cfg.OpenFlow.TLS); err != nil {
		return nil, err
	}
	if err = c.buildTap(); err != nil {
		return nil, err
	}
	if err = c.buildManager(connect); err != nil {
		return nil, err
	}
	if c.bgpls, err = newLinkState(cfg, c.manager, c.broker.Publish, log); err != nil {
		return nil, err
	}
	return c, c.buildAPI()
}

func (c *Controller) buildTap() error {
	cfg := c.cfg
	steerable := false
	for _, p := range c.places.list {
		steerable = steerable || p.PE != ""
	}
	events := detector.EventsNone
	if steerable {
		events = detector.EventsMultipath
	}
	c.tap = &tap{
		places: c.places, observe: cfg.OpenFlow.Observe, log: c.log, news: make(chan struct{}, 1), events: steerable,
		observed: map[uint64]portPlaces{},
		tracker: detector.New(detector.Config{
			Places: c.places.list, MaxConnections: cfg.Detector.MaxConnections, MaxSubflows: cfg.Detector.MaxSubflows,
			MaxHalfOpen: cfg.Detector.MaxHalfOpen, MaxOrphans: cfg.Detector.MaxOrphans,
			HalfOpenTimeout: time.Duration(cfg.Detector.HalfOpenTimeout), OrphanTimeout: time.Duration(cfg.Detector.OrphanTimeout),
			IdleTimeout: time.Duration(cfg.Detector.IdleTimeout), Events: events,
		}),
		changed: func(dpid uint64, _ string, state datapath.State, _ string) {
			c.broker.Publish(api.Event{Type: "datapath", Action: "changed", Subject: datapath.DPIDString(dpid), State: state.String()})
		},
	}
	for _, m := range c.mirrors {
		m.tap, m.log = c.tap, c.log
		m.changed = func(v api.Mirror) {
			c.broker.Publish(api.Event{Type: "mirror", Action: "changed", Subject: v.Name, State: v.State, Data: v})
		}
	}
	for i := range cfg.PEs {
		if cfg.PEs[i].Steer == string(tunnelmanager.SteerClass) {
			c.tap.dscps = dscps{}
		}
	}
	third, err := datapath.ParseThirdACK(cfg.Tap.ThirdACK)
	if err != nil {
		return err
	}
	unknown := datapath.Refuse
	if cfg.OpenFlow.UnknownDatapaths == "observe" {
		unknown = datapath.Observe
	}
	c.registry, err = datapath.NewRegistry(datapath.Config{
		Bridges: bridges(cfg), Unknown: unknown, Handler: c.tap, Log: c.log,
		Tap: datapath.Tap{ThirdACK: third, PuntRate: uint32(cfg.Tap.PuntRate), MaxLen: uint16(cfg.Tap.MaxLen)},
	})
	if err != nil {
		return err
	}
	c.bridges = newProvisioner(cfg, c.registry, c.log)
	if third == datapath.ThirdACKReactive {
		c.tap.expect = newExpecter(c.registry, c.places, c.log)
	}
	return nil
}

// edgeIdle ends a bound flow that carries nothing for so long.
const edgeIdle = 5 * time.Minute

func (c *Controller) buildManager(connect connector) error {
	cfg := c.cfg
	mc, err := managerConfig(cfg, c.places)
	if err != nil {
		return err
	}
	ids := names(cfg)
	conns := map[string]tunnelmanager.Conn{}
	for i := range cfg.PEs {
		if conns[cfg.PEs[i].Name], err = connect(cfg, &cfg.PEs[i], ids, c.log); err != nil {
			return err
		}
	}
	e := &edge{places: c.places, registry: c.registry, idle: edgeIdle}
	var bridges tunnelmanager.Edge
	if len(cfg.Bridges) > 0 {
		bridges = e
	}
	if c.manager, err = tunnelmanager.New(mc, conns, bridges, newState(c.store), c.log); err != nil {
		return err
	}
	c.flows = &flows{places: c.places, tap: c.tap, manager: c.manager, log: c.log, publish: c.publishFlow, listed: map[detector.SubflowID]time.Time{}}
	e.counters = &c.flows.counters
	c.reader = &flowReader{tap: c.tap, flows: c.flows, manager: c.manager}
	c.tap.ended = c.flows.ruleEnded
	c.manager.OnNotice(c.publishNotice)
	c.tellKept(&mc)
	bound, err := c.manager.Bound()
	if err != nil {
		return err
	}
	c.flows.restore(bound)
	return nil
}

// tellKept warns where what was set at run time wins over the file.
func (c *Controller) tellKept(file *tunnelmanager.Config) {
	view := c.manager.View()
	if view.Mode != file.Mode {
		c.log.Warn("the mode that was set at run time holds, not the configuration's: mpbox mode sets it", zap.String("mode", string(view.Mode)), zap.String("configured", string(file.Mode)))
	}
	differ := threshold.Diff(file.Thresholds, view.Limits)
	for _, d := range threshold.DiffRules(file.Rules, view.Rules) {
		differ = append(differ, d.Text)
	}
	if len(differ) > 0 {
		c.log.Warn("thresholds that were set at run time hold, not the configuration's: mpbox threshold sets them", zap.Strings("differ", differ))
	}
}

func (c *Controller) buildAPI() error {
	cfg := c.cfg
	ctl := &control{manager: c.manager}
	c.system = &system{started: time.Now(), cfg: cfg, version: c.version, tap: c.tap, registry: c.registry, mirrors: c.mirrors, manager: c.manager, bgpls: c.bgpls, broker: c.broker}
	m := &metrics{tap: c.tap, registry: c.registry, mirrors: c.mirrors, manager: c.manager, bgpls: c.bgpls}
	o := api.Options{
		Version: c.version, Metrics: m.handler(), Log: c.log,
		Backend: api.Backend{Flows: c.reader, Network: &network{cfg: cfg, manager: c.manager, registry: c.registry, bridges: c.bridges, mirrors: c.mirrors, bgpls: c.bgpls}, Plans: ctl, Control: ctl, System: c.system},
	}
	for _, l := range cfg.API.Listen {
		o.Listen = append(o.Listen, string(l))
	}
	for _, t := range cfg.API.Tokens {
		o.Tokens = append(o.Tokens, api.Token(t))
	}
	if t := cfg.API.TLS; t != nil {
		o.Certificate, o.Key, o.ClientCA = t.Certificate, t.Key, t.ClientCA
	}
	var err error
	c.api, err = api.New(o)
	return err
}

// Run works until ctx ends or a part fails. The order of the parts does not
// matter: each waits for what it needs, and all are joined before Run returns.
func (c *Controller) Run(ctx context.Context) error {
	defer c.store.Close()
	c.log.Info("mpbox starts", zap.String("instance", c.cfg.Instance), zap.String("mode", string(c.manager.View().Mode)), zap.String("version", c.version))
	var listeners []net.Listener // all of them, before anything is started
	for _, where := range c.cfg.OpenFlow.Listen {
		l, err := openflow.Listen(string(where), c.tls)
		if err != nil {
			return err
		}
		defer l.Close()
		c.log.Info("listening for bridges", zap.String("address", string(where)))
		listeners = append(listeners, l)
	}
	g, ctx := errgroup.WithContext(ctx)
	server := openflow.NewServer(openflow.Config{}, c.log, c.registry.Open)
	for _, l := range listeners {
		g.Go(func() error { return server.Serve(ctx, l) })
	}
	for _, m := range c.mirrors {
		g.Go(func() error { return m.run(ctx) })
	}
	g.Go(func() error { return c.flows.run(ctx) })
	g.Go(func() error { return c.manager.Run(ctx) })
	if c.bgpls != nil {
		g.Go(func() error { return c.bgpls.run(ctx) })
	}
	g.Go(func() error {
		return c.api.Run(ctx, func(addrs []net.Addr) {
			for _, a := range addrs {
				c.log.Info("listening for API", zap.Stringer("address", a))
			}
			c.system.listening.Store(true)
		})
	})
	g.Go(func() error { c.bridges.run(ctx); return nil })
	return g.Wait()
}

func openflowTLS(t *config.TLS) (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate of openflow.tls: %w", err)
	}
	o := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if t.ClientCA == "" {
		return o, nil
	}
	pem, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read openflow.tls.client_ca: %w", err)
	}
	o.ClientCAs, o.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !o.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("openflow.tls.client_ca: %s holds no PEM certificate", t.ClientCA)
	}
	return o, nil
}
