package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"
)

// Options of a Server.
type Options struct {
	// Listen are host:port or unix:/path.
	Listen []string
	// Certificate, Key and ClientCA are PEM files. Certificate and Key are used at
	// addresses that other machines reach; with ClientCA, clients there must show a
	// certificate.
	Certificate, Key, ClientCA string
	// Tokens, if any, are what every client but those of unix sockets must show one of.
	Tokens []Token
	// Version of mpbox, for the description.
	Version string
	Backend Backend
	// Metrics answers /metrics; nil: 404.
	Metrics http.Handler
	Log     *zap.Logger
}

// Server is the API. It is built by New and lives in Run.
type Server struct {
	opts    Options
	backend Backend
	log     *zap.Logger
	handler http.Handler
	huma    huma.API

	// patching makes reading, changing and setting thresholds one step.
	patching sync.Mutex
}

func init() {
	// Lists of this API are never null: see List.
	huma.DefaultArrayNullable = false
}

// New lays out the routes. It opens nothing.
func New(o Options) (*Server, error) {
	s := &Server{opts: o, backend: o.Backend, log: o.Log}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	mux := http.NewServeMux()
	s.huma = humago.New(mux, s.describe())
	s.routes()
	s.plainRoutes(mux)
	s.describePlain()
	s.handler = s.guard(known(mux))
	return s, nil
}

// Handler answers requests as a loopback listener would; for tests.
func (s *Server) Handler() http.Handler { return s.handler }

// OpenAPI gives the description of the API.
func (s *Server) OpenAPI() *huma.OpenAPI { return s.huma.OpenAPI() }

// routes lays out what the description shows.
func (s *Server) routes() {
	s.flowRoutes()
	s.networkRoutes()
	s.planRoutes()
	s.controlRoutes()
	s.eventRoutes()
}

// plainRoutes lays out what is not REST.
func (s *Server) plainRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, r *http.Request) {
		err := ErrUnavailable
		if s.backend.System != nil {
			ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
			defer cancel()
			err = s.backend.System.Ready(ctx)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	if s.opts.Metrics != nil {
		mux.Handle("GET /metrics", s.opts.Metrics)
	}
	mux.Handle("GET /{$}", page("index.html"))
	mux.Handle("GET /ui/", http.StripPrefix("/ui/", pageFiles()))
}

// known answers what no route does with a problem, too.
func known(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		answer := discard{header: http.Header{}}
		h.ServeHTTP(&answer, r)
		if answer.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", answer.header.Get("Allow"))
			writeProblem(w, answer.status, r.URL.Path+" takes "+answer.header.Get("Allow"))
			return
		}
		writeProblem(w, http.StatusNotFound, fmt.Sprintf("there is no %s; see /openapi.json", r.URL.Path))
	})
}

// discard takes what the mux would have answered.
type discard struct {
	header http.Header
	status int
}

func (r *discard) Header() http.Header         { return r.header }
func (r *discard) WriteHeader(status int)      { r.status = status }
func (r *discard) Write(b []byte) (int, error) { return len(b), nil }

// problem turns an error of the backend into an RFC 9457 answer.
func (s *Server) problem(err error) error {
	var invalid *InvalidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		where := "body." + invalid.Field
		if invalid.Query {
			where = "query." + invalid.Field
		}
		return huma.Error422UnprocessableEntity("value refused", &huma.ErrorDetail{Message: invalid.Detail, Location: strings.TrimSuffix(where, ".")})
	case errors.Is(err, ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, ErrConflict):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, ErrUnsupported):
		return huma.Error501NotImplemented(err.Error())
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return huma.Error503ServiceUnavailable(err.Error())
	default:
		s.log.Error("answer request", zap.Error(err))
		return huma.Error500InternalServerError(err.Error())
	}
}

var errNotYet = fmt.Errorf("%w: this part of mpbox is not running (yet)", ErrUnavailable)

// register adds a route whose handler gives what the body is to be.
func register[I, T any](s *Server, op huma.Operation, f func(context.Context, *I) (T, error)) {
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*struct{ Body T }, error) {
		v, err := f(ctx, in)
		if err != nil {
			return nil, s.problem(err)
		}
		return &struct{ Body T }{v}, nil
	})
}
