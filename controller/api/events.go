package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	// heartbeat keeps proxies from ending a quiet stream.
	heartbeat = 15 * time.Second
	// eventWrite is how long a client may take to read.
	eventWrite = 10 * time.Second
)

type eventsInput struct {
	Type   []string `query:"type" doc:"Only events of these types, comma separated" enum:"connection,subflow,binding,datapath,mirror,pe,lsp,topology,demand,plan,threshold,mode,change"`
	VPN    string   `query:"vpn" doc:"Only events of this VPN"`
	PE     string   `query:"pe" doc:"Only events that concern this PE"`
	LastID string   `header:"Last-Event-ID" doc:"Go on after this event"`
}

func (in *eventsInput) match(e Event) bool {
	return e.Type == "lost" || (len(in.Type) == 0 || slices.Contains(in.Type, e.Type)) &&
		(in.VPN == "" || e.VPN == in.VPN) && (in.PE == "" || e.PE == in.PE)
}

func (s *Server) eventRoutes() {
	op := huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/v1/events", Tags: []string{"system"},
		Summary: "What changes, as it happens (server-sent events)",
		Description: "Each event has its type as `event`, and as `data` an Event. Read the lists first with the stream open, then apply events. " +
			"After an event of type lost, or when the stream ends, read the lists again.",
	}
	schema := s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Event](), true, "Event")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A stream that does not end",
		Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema: &huma.Schema{Type: huma.TypeString, Description: "Lines of server-sent events", Extensions: map[string]any{"x-data-schema": schema}},
		}},
	}}
	huma.Register(s.huma, op, func(_ context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		if s.backend.System == nil {
			return nil, s.problem(errNotYet)
		}
		after, err := strconv.ParseUint(in.LastID, 10, 64)
		if err != nil && in.LastID != "" {
			return nil, huma.Error422UnprocessableEntity("bad Last-Event-ID", &huma.ErrorDetail{Message: "want the id of an event", Location: "header.Last-Event-ID", Value: in.LastID})
		}
		return &huma.StreamResponse{Body: func(hctx huma.Context) { s.stream(hctx, in, after) }}, nil
	})
}

// stream writes events until the client goes, or does not keep up.
func (s *Server) stream(hctx huma.Context, in *eventsInput, after uint64) {
	ctx, cancel := context.WithCancel(hctx.Context())
	defer cancel()
	_, w := humago.Unwrap(hctx)
	events := s.backend.System.Subscribe(ctx, after)
	hctx.SetHeader("Content-Type", "text/event-stream")
	hctx.SetHeader("X-Accel-Buffering", "no")
	rc := http.NewResponseController(w)
	send := func(format string, args ...any) bool {
		_ = rc.SetWriteDeadline(time.Now().Add(eventWrite))
		_, err := fmt.Fprintf(w, format, args...)
		return err == nil && rc.Flush() == nil
	}
	if !send("retry: 2000\n\n") {
		return
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !send(": still here\n\n") {
				return
			}
		case e, ok := <-events:
			if !ok {
				return // the client did not keep up, or mpbox ends
			}
			if !in.match(e) {
				continue
			}
			data, err := json.Marshal(e)
			if err != nil {
				s.log.Error("encode event: " + err.Error())
				continue
			}
			if !send("id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Type, data) {
				return
			}
		}
	}
}
