package controller

import (
	"time"

	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mpbox/apps/detector"
	"mpbox/apps/tunnelmanager"
	"mpbox/southbound/datapath"
)

// metrics reads the parts' own counters when it is asked; no part knows of
// Prometheus. Labels are bounded: versions, results, reasons, PEs, dpids.
type metrics struct {
	tap      *tap
	registry *datapath.Registry
	mirrors  []*mirror
	manager  *tunnelmanager.Manager
	bgpls    *linkState
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mpbox_"+name, help, labels, nil)
}

var (
	mPackets     = desc("packets_total", "Punted packets read, by what they were.", "kind")
	mConnections = desc("mptcp_connections_total", "MPTCP connections found, by version.", "version")
	mClosed      = desc("mptcp_connections_closed_total", "MPTCP connections whose last subflow ended.")
	mVerified    = desc("mptcp_connections_verified_total", "MPTCP connections whose client echoed the server's key, or another.", "result")
	mJoins       = desc("mptcp_joins_total", "MP_JOIN subflows by whether their token was known, at once or later.", "result")
	mAnswers     = desc("mptcp_join_answers_total", "Matched MP_JOIN subflows by the server's answer.", "result")
	mHMAC        = desc("mptcp_join_hmacs_total", "MP_JOIN third ACKs by their HMAC.", "result")
	mHandshakes  = desc("mptcp_handshakes_total", "Handshake packets with MPTCP options, by kind.", "kind")
	mFallback    = desc("mptcp_fallbacks_total", "Handshakes that fell back, by how.", "kind")
	mOptions     = desc("mptcp_options_refused_total", "MPTCP options that were not understood, by reason.", "reason")
	mEnds        = desc("mptcp_subflows_ended_total", "Subflows that ended, by how.", "reason")
	mDrops       = desc("detector_dropped_total", "What was given up or refused for want of room or by time, by what and why.", "what", "reason")
	mTracked     = desc("detector_tracked", "Records held now, by kind.", "kind")
	mMemory      = desc("detector_memory_bytes", "Memory of the detector's records and indexes.")
	mDetect      = desc("mptcp_detection_seconds", "From the first SYN of a connection to the server's key.")
	mCorrelate   = desc("mptcp_correlation_seconds", "From a join's SYN to its match.")
	mPunts       = desc("datapath_punts_total", "Packets that a datapath sent.", "dpid")
	mPuntDrops   = desc("datapath_dropped_total", "Punts that were not delivered, by reason.", "dpid", "reason")
	mDPState     = desc("datapath_up", "1 while a datapath's session is up.", "dpid")
	mDPReady     = desc("datapath_ready", "1 while a datapath's flow tables are as intended, and its packets come to this controller.", "dpid")
	mFrames      = desc("mirror_frames_total", "Frames read from a mirror port, behind the kernel's filter.", "mirror")
	mMirrored    = desc("mirror_handshakes_total", "Frames read from a mirror port that are SYN or SYN/ACK.", "mirror")
	mMirrorDrops = desc("mirror_dropped_total", "Frames of a mirror port that tell nothing: dropped by the kernel for want of room, not ERSPAN, of no attachment.", "mirror", "reason")
	mUndirected  = desc("mirror_undirected_total", "Frames of a mirror port of which it could not be told which way they went.", "mirror")
	mMirrorUp    = desc("mirror_up", "1 while a mirror port is read and has link.", "mirror")
	mBindings    = desc("bindings", "Flows put onto LSPs, by state.", "state")
	mDemands     = desc("demands", "Demands, by state.", "state")
	mLSPs        = desc("lsps", "LSPs that PEs report, by PE, owner and state.", "pe", "owned", "state")
	mPEUp        = desc("pe_up", "1 while the last read of a PE succeeded.", "pe")
	mTED         = desc("topology_source", "1 for where the topology in use comes from.", "source")
	mTEDNodes    = desc("topology_nodes", "Nodes of the topology in use.")
	mTEDLinks    = desc("topology_links", "Links of the topology in use, one for each direction.")
	mBGPLSUp     = desc("bgpls_session_up", "1 while a BGP-LS session stands and all was told.", "peer")
	mBGPLSCount  = desc("bgpls_updates_total", "Changes of the topology that BGP-LS told and that were taken over.")
	mBGPLSTime   = desc("bgpls_updated_timestamp_seconds", "When the last one was; 0 if none.")
	mUnmatched   = desc("bgpls_unmatched_pes", "Configured PEs that are no node of the topology that BGP-LS tells.")
	mSets        = desc("pe_operations_total", "Operations sent that change a PE.", "pe")
)

func (m *metrics) handler() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// Describe is left empty: the collector is unchecked, since its series follow the
// configuration.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect reads all counters.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.tap.mu.Lock()
	s := m.tap.tracker.Stats()
	m.tap.mu.Unlock()
	collectDetector(ch, &s)
	m.collectDatapaths(ch)
	m.collectMirrors(ch)
	m.collectManager(ch)
	m.collectTopology(ch)
}

func collectDetector(ch chan<- prometheus.Metric, s *detector.Stats) {
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for kind, v := range map[string]uint64{
		"tcp": s.TCP, "not_tcp": s.NotTCP, "fragment": s.Fragments, "truncated": s.Truncated, "malformed": s.Malformed,
		"unknown_place": s.UnknownPlace, "plain_syn": s.PlainSYN, "plain_syn_ack": s.PlainSYNACK, "fin": s.FIN, "rst": s.RST,
		"retransmission": s.Retransmissions, "unmatched": s.Unmatched, "mismatched": s.Mismatched,
	} {
		count(mPackets, v, kind)
	}
	count(mConnections, s.Connections[0], "0")
	count(mConnections, s.Connections[1], "1")
	count(mClosed, s.ConnectionsClosed)
	count(mVerified, s.ConnectionsVerified, "verified")
	count(mVerified, s.WrongEcho, "wrong")
	count(mJoins, s.JoinsMatched, "matched")
	count(mJoins, s.JoinsOrphaned, "orphaned")
	count(mAnswers, s.JoinsAccepted, "accepted")
	count(mAnswers, s.JoinsRefused, "refused")
	count(mAnswers, s.JoinsUnanswered, "unanswered")
	count(mHMAC, s.JoinsVerified, "verified")
	count(mHMAC, s.JoinsForged, "wrong")
	for kind, v := range map[string]uint64{
		"capable_syn": s.CapableSYN, "capable_syn_ack": s.CapableSYNACK, "capable_ack": s.CapableACK,
		"join_syn": s.JoinSYN, "join_syn_ack": s.JoinSYNACK, "join_ack": s.JoinACK,
		"add_addr": s.AddAddr, "remove_addr": s.RemoveAddr, "prio": s.Prio, "fastclose": s.FastClose, "fail": s.Fail, "rst": s.TCPRst,
	} {
		count(mHandshakes, v, kind)
	}
	count(mFallback, s.Fallback, "tcp")
	count(mFallback, s.Downgrade, "version")
	count(mFallback, s.Fallen, "fail")
	for reason, v := range map[string]uint64{"length": s.OptionLength, "ignored": s.OptionIgnored, "version": s.OptionVersion, "subtype": s.OptionSubtype} {
		count(mOptions, v, reason)
	}
	for reason, v := range map[string]uint64{"fin": s.ClosedFIN, "rst": s.ClosedRST, "fastclose": s.ClosedFast, "idle": s.ClosedIdle, "replaced": s.Replaced} {
		count(mEnds, v, reason)
	}
	for _, d := range []struct {
		what, reason string
		v            uint64
	}{
		{"half_open", "evicted", s.EvictedHalfOpen}, {"half_open", "expired", s.ExpiredHalfOpen}, {"half_open", "refused", s.RefusedHandshakes},
		{"orphan", "evicted", s.EvictedOrphans}, {"orphan", "expired", s.ExpiredOrphans}, {"closed", "evicted", s.EvictedClosed},
		{"connection", "evicted", s.EvictedConnections}, {"connection", "refused", s.RefusedConnections}, {"join", "refused", s.RefusedJoins},
		{"hmac", "unchecked", s.UncheckedMACs}, {"event", "lost", s.EventsLost}, {"index", "full", s.IndexFull},
	} {
		count(mDrops, d.v, d.what, d.reason)
	}
	for kind, v := range map[string]int{
		"half_open": s.HalfOpen, "orphan_asked": s.OrphansAsked, "orphan_answered": s.OrphansAnswered, "subflow_live": s.Live, "subflow_closed": s.Closed,
		"connection_unproven": s.ConnectionsUnproven, "connection_proven": s.ConnectionsProven, "connection_idle": s.ConnectionsIdle, "address": s.Addresses, "hmac": s.PendingMACs,
	} {
		gauge(mTracked, v, kind)
	}
	gauge(mMemory, s.Memory)
	histogram(ch, mDetect, &s.Detected)
	histogram(ch, mCorrelate, &s.Correlated)
}

// histogram shows the detector's buckets from a microsecond up.
func histogram(ch chan<- prometheus.Metric, d *prometheus.Desc, h *detector.Histogram) {
	buckets := map[float64]uint64{}
	sum := uint64(0)
	for i, n := range h.Buckets {
		sum += n
		if le := detector.HistogramBound(i); le > time.Microsecond && i < detector.HistogramBuckets-1 {
			buckets[le.Seconds()] = sum
		}
	}
	ch <- prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), buckets)
}

func (m *metrics) collectDatapaths(ch chan<- prometheus.Metric) {
	for _, s := range m.registry.Snapshot() {
		dpid := datapath.DPIDString(s.DPID)
		ch <- prometheus.MustNewConstMetric(mPunts, prometheus.CounterValue, float64(s.Punts), dpid)
		for reason, n := range s.Drops {
			ch <- prometheus.MustNewConstMetric(mPuntDrops, prometheus.CounterValue, float64(n), dpid, reason)
		}
		ch <- prometheus.MustNewConstMetric(mDPState, prometheus.GaugeValue, boolGauge(s.State.Connected()), dpid)
		ch <- prometheus.MustNewConstMetric(mDPReady, prometheus.GaugeValue, boolGauge(s.State.InOrder()), dpid)
	}
}

func (m *metrics) collectMirrors(ch chan<- prometheus.Metric) {
	for _, x := range m.mirrors {
		v := x.view()
		count := func(d *prometheus.Desc, n uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{v.Name}, labels...)...)
		}
		count(mFrames, v.Frames)
		count(mMirrored, v.Handshakes)
		count(mMirrorDrops, v.Dropped, "kernel")
		count(mMirrorDrops, v.Strange, "not_erspan")
		count(mMirrorDrops, v.Unplaced, "unplaced")
		count(mUndirected, v.Undirected)
		ch <- prometheus.MustNewConstMetric(mMirrorUp, prometheus.GaugeValue, boolGauge(v.State == mirrorListening), v.Name)
	}
}

func (m *metrics) collectManager(ch chan<- prometheus.Metric) {
	v := m.manager.View()
	bindings := map[tunnelmanager.BindingState]int{
		tunnelmanager.BindingPending: 0, tunnelmanager.BindingInstalled: 0, tunnelmanager.BindingVerified: 0, tunnelmanager.BindingFailed: 0}
	for _, b := range v.Bindings {
		bindings[b.State]++
	}
	for s, n := range bindings {
		ch <- prometheus.MustNewConstMetric(mBindings, prometheus.GaugeValue, float64(n), string(s))
	}
	demands := map[string]int{}
	for i := range v.Demands {
		demands[v.Demands[i].State]++
	}
	for s, n := range demands {
		ch <- prometheus.MustNewConstMetric(mDemands, prometheus.GaugeValue, float64(n), s)
	}
	type key struct{ pe, owned, state string }
	lsps := map[key]int{}
	for i := range v.LSPs {
		l := &v.LSPs[i]
		lsps[key{l.Ingress, map[bool]string{true: "true", false: "false"}[l.Owned], l.State}]++
	}
	for k, n := range lsps {
		ch <- prometheus.MustNewConstMetric(mLSPs, prometheus.GaugeValue, float64(n), k.pe, k.owned, k.state)
	}
	for i := range v.PEs {
		pe := &v.PEs[i]
		ch <- prometheus.MustNewConstMetric(mPEUp, prometheus.GaugeValue, boolGauge(pe.Reachable), pe.Name)
		ch <- prometheus.MustNewConstMetric(mSets, prometheus.CounterValue, float64(pe.SetsSent), pe.Name)
	}
}

func (m *metrics) collectTopology(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	v := m.manager.View()
	for _, s := range []tunnelmanager.TEDSource{tunnelmanager.TEDNone, tunnelmanager.TEDFile, tunnelmanager.TEDPEs, tunnelmanager.TEDTold} {
		gauge(mTED, boolGauge(s == v.TEDFrom), sourceName(s))
	}
	nodes, links := 0, 0
	if v.TED != nil {
		nodes, links = len(v.TED.Nodes()), len(v.TED.Links())
	}
	gauge(mTEDNodes, float64(nodes))
	gauge(mTEDLinks, float64(links))
	b := m.bgpls.status()
	if b == nil {
		return
	}
	for _, p := range b.Peers {
		gauge(mBGPLSUp, boolGauge(p.State == peerUp), p.Address)
	}
	ch <- prometheus.MustNewConstMetric(mBGPLSCount, prometheus.CounterValue, float64(b.Updates))
	updated := 0.0
	if !b.Updated.IsZero() {
		updated = float64(b.Updated.UnixMilli()) / 1000
	}
	gauge(mBGPLSTime, updated)
	gauge(mUnmatched, float64(len(b.Unmatched)))
}

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
