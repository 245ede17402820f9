package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

var (
	flowStates    = []string{"syn", "established", "closed", "failed"}
	bindingStates = []string{"pending", "installed", "verified", "failed"}
	lspStates     = []string{"unknown", "down", "up", "signalling", "releasing"}
	demandStates  = []string{"waiting", "planned", "met", "unmet", "held", "releasing"}
	planStates    = []string{"proposed", "running", "done", "failed", "superseded"}
	changeResults = []string{"ok", "failed", "refused", "skipped"}
)

// idInput is a path that ends in an id.
type idInput struct {
	ID string `path:"id" maxLength:"256"`
}

func (s *Server) flowRoutes() {
	tags := []string{"flows"}
	list(s, huma.Operation{OperationID: "list-connections", Path: "/v1/connections", Tags: tags, Summary: "MPTCP connections"}, flowStates,
		func(ctx context.Context, q Query) (Page[Connection], error) {
			if s.backend.Flows == nil {
				return Page[Connection]{}, errNotYet
			}
			return s.backend.Flows.Connections(ctx, q)
		})
	register(s, huma.Operation{OperationID: "get-connection", Method: http.MethodGet, Path: "/v1/connections/{id}", Tags: tags, Summary: "One connection", Errors: []int{404}},
		func(ctx context.Context, in *idInput) (Connection, error) {
			if s.backend.Flows == nil {
				return Connection{}, errNotYet
			}
			return s.backend.Flows.Connection(ctx, in.ID)
		})
	list(s, huma.Operation{OperationID: "list-subflows", Path: "/v1/subflows", Tags: tags, Summary: "Subflows, orphaned joins included"}, flowStates,
		func(ctx context.Context, q Query) (Page[Subflow], error) {
			if s.backend.Flows == nil {
				return Page[Subflow]{}, errNotYet
			}
			return s.backend.Flows.Subflows(ctx, q)
		})
	list(s, huma.Operation{OperationID: "list-bindings", Path: "/v1/bindings", Tags: tags, Summary: "Flows that are put onto LSPs"}, bindingStates,
		func(ctx context.Context, q Query) (Page[Binding], error) {
			if s.backend.Flows == nil {
				return Page[Binding]{}, errNotYet
			}
			return s.backend.Flows.Bindings(ctx, q)
		})
	register(s, huma.Operation{OperationID: "explain", Method: http.MethodGet, Path: "/v1/explain/{id}", Tags: tags, Summary: "Why a connection's subflows ride where they do", Errors: []int{404}},
		func(ctx context.Context, in *idInput) (Explanation, error) {
			if s.backend.Flows == nil {
				return Explanation{}, errNotYet
			}
			return s.backend.Flows.Explain(ctx, in.ID)
		})
}

func dpidOf(d Datapath) string { return d.DPID }

func nameOf(p PE) string { return p.Name }

// sortedBy gives a sorted copy.
func sortedBy[T any](items []T, key func(T) string) []T {
	return slices.SortedFunc(slices.Values(items), func(a, b T) int { return strings.Compare(key(a), key(b)) })
}

func (s *Server) networkRoutes() {
	tags := []string{"network"}
	list(s, huma.Operation{OperationID: "list-datapaths", Path: "/v1/datapaths", Tags: tags, Summary: "Edge bridges"}, []string{"connected", "lost"},
		func(ctx context.Context, q Query) (Page[Datapath], error) {
			if s.backend.Network == nil {
				return Page[Datapath]{}, errNotYet
			}
			all, err := s.backend.Network.Datapaths(ctx)
			if err != nil {
				return Page[Datapath]{}, err
			}
			return Paginate(sortedBy(all, dpidOf), q, dpidOf, func(d Datapath) bool {
				return (q.State == "" || d.Connected == (q.State == "connected")) && !d.Since.Before(q.Since) &&
					(q.VPN == "" && q.PE == "" || slices.ContainsFunc(d.Attachments, func(a Attachment) bool {
						return (q.VPN == "" || a.VPN == q.VPN) && (q.PE == "" || a.PE == q.PE)
					}))
			}), nil
		})
	list(s, huma.Operation{OperationID: "list-mirrors", Path: "/v1/mirrors", Tags: tags, Summary: "Mirror ports that handshakes are read from"}, []string{"listening", "down", "lost"},
		func(ctx context.Context, q Query) (Page[Mirror], error) {
			if s.backend.Network == nil {
				return Page[Mirror]{}, errNotYet
			}
			all, err := s.backend.Network.Mirrors(ctx)
			if err != nil {
				return Page[Mirror]{}, err
			}
			name := func(m Mirror) string { return m.Name }
			return Paginate(sortedBy(all, name), q, name, func(m Mirror) bool {
				return (q.State == "" || m.State == q.State) && !m.Since.Before(q.Since) &&
					(q.VPN == "" && q.PE == "" || slices.ContainsFunc(m.Attachments, func(a MirrorAttachment) bool {
						return (q.VPN == "" || a.VPN == q.VPN) && (q.PE == "" || a.PE == q.PE)
					}))
			}), nil
		})
	list(s, huma.Operation{OperationID: "list-pes", Path: "/v1/pes", Tags: tags, Summary: "Provider edge routers"}, []string{"reachable", "unreachable"},
		func(ctx context.Context, q Query) (Page[PE], error) {
			if s.backend.Network == nil {
				return Page[PE]{}, errNotYet
			}
			all, err := s.backend.Network.PEs(ctx)
			if err != nil {
				return Page[PE]{}, err
			}
			return Paginate(sortedBy(all, nameOf), q, nameOf, func(p PE) bool {
				return (q.State == "" || p.Reachable == (q.State == "reachable")) && (q.PE == "" || p.Name == q.PE) && !p.LastRead.Before(q.Since)
			}), nil
		})
	list(s, huma.Operation{OperationID: "list-lsps", Path: "/v1/lsps", Tags: tags, Summary: "Label switched paths that begin at the PEs"}, lspStates,
		func(ctx context.Context, q Query) (Page[LSP], error) {
			if s.backend.Network == nil {
				return Page[LSP]{}, errNotYet
			}
			return s.backend.Network.LSPs(ctx, q)
		})
	register(s, huma.Operation{OperationID: "get-topology", Method: http.MethodGet, Path: "/v1/topology", Tags: tags, Summary: "The traffic engineering database in use"},
		func(ctx context.Context, _ *struct{}) (Topology, error) {
			if s.backend.Network == nil {
				return Topology{}, errNotYet
			}
			return s.backend.Network.Topology(ctx)
		})
}

func (s *Server) planRoutes() {
	tags := []string{"plans"}
	list(s, huma.Operation{OperationID: "list-demands", Path: "/v1/demands", Tags: tags, Summary: "What connections of one signature ask for together"}, demandStates,
		func(ctx context.Context, q Query) (Page[Demand], error) {
			if s.backend.Plans == nil {
				return Page[Demand]{}, errNotYet
			}
			return s.backend.Plans.Demands(ctx, q)
		})
	list(s, huma.Operation{OperationID: "list-plans", Path: "/v1/plans", Tags: tags, Summary: "Plans, the newest first"}, planStates,
		func(ctx context.Context, q Query) (Page[Plan], error) {
			if s.backend.Plans == nil {
				return Page[Plan]{}, errNotYet
			}
			return s.backend.Plans.Plans(ctx, q)
		})
	register(s, huma.Operation{OperationID: "get-plan", Method: http.MethodGet, Path: "/v1/plans/{id}", Tags: tags, Summary: "One plan", Errors: []int{404}},
		func(ctx context.Context, in *idInput) (Plan, error) {
			if s.backend.Plans == nil {
				return Plan{}, errNotYet
			}
			return s.backend.Plans.Plan(ctx, in.ID)
		})
	register(s, huma.Operation{OperationID: "approve-plan", Method: http.MethodPost, Path: "/v1/plans/{id}/approve", Tags: tags, Summary: "Have a proposed plan carried out", Errors: []int{404, 409, 500}},
		func(ctx context.Context, in *idInput) (Plan, error) {
			if s.backend.Plans == nil {
				return Plan{}, errNotYet
			}
			return s.backend.Plans.Approve(ctx, actorOf(ctx), in.ID)
		})
	register(s, huma.Operation{OperationID: "propose-plan", Method: http.MethodPost, Path: "/v1/plans", Tags: tags, Summary: "Compute a plan now",
		Description: "evaluate only scores what is there. incremental and redesign give a proposed plan, which waits for approval, in mode auto too.", Errors: []int{409, 501}, DefaultStatus: http.StatusCreated},
		func(ctx context.Context, in *struct{ Body PlanRequest }) (Plan, error) {
			if s.backend.Plans == nil {
				return Plan{}, errNotYet
			}
			return s.backend.Plans.Propose(ctx, actorOf(ctx), in.Body.Scope)
		})
}

func (s *Server) controlRoutes() {
	tags := []string{"control"}
	s.thresholdRoutes(tags)
	register(s, huma.Operation{OperationID: "get-mode", Method: http.MethodGet, Path: "/v1/mode", Tags: tags, Summary: "What mpbox may do to routers"},
		func(ctx context.Context, _ *struct{}) (Mode, error) {
			if s.backend.Control == nil {
				return Mode{}, errNotYet
			}
			return s.backend.Control.Mode(ctx)
		})
	register(s, huma.Operation{OperationID: "set-mode", Method: http.MethodPut, Path: "/v1/mode", Tags: tags, Summary: "Set what mpbox may do to routers"},
		func(ctx context.Context, in *struct{ Body Mode }) (Mode, error) {
			if s.backend.Control == nil {
				return Mode{}, errNotYet
			}
			return s.backend.Control.SetMode(ctx, actorOf(ctx), in.Body)
		})
	list(s, huma.Operation{OperationID: "list-changes", Path: "/v1/changes", Tags: tags, Summary: "The audit, the newest first",
		Description: "state selects by result."}, changeResults,
		func(ctx context.Context, q Query) (Page[Change], error) {
			if s.backend.Control == nil {
				return Page[Change]{}, errNotYet
			}
			return s.backend.Control.Changes(ctx, q)
		})
	register(s, huma.Operation{OperationID: "get-status", Method: http.MethodGet, Path: "/v1/status", Tags: []string{"system"}, Summary: "The controller at a glance"},
		func(ctx context.Context, _ *struct{}) (Status, error) {
			if s.backend.System == nil {
				return Status{}, errNotYet
			}
			return s.backend.System.Status(ctx)
		})
}
