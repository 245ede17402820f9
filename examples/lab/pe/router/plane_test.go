package router_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mpbox/examples/lab/fabric"
	"mpbox/examples/lab/pe/petest"
	"mpbox/examples/lab/pe/router"
)

// shaky is a data plane that fails as often as it is told to.
type shaky struct {
	*petest.Fabric
	starts, installs, ingress int
	ids                       []uint32
}

func fails(n *int) error {
	if *n == 0 {
		return nil
	}
	*n--
	return errors.New("switch is away")
}

func (s *shaky) Start(ctx context.Context, p []fabric.Path, in fabric.Ingress) error {
	return errors.Join(fails(&s.starts), s.Fabric.Start(ctx, p, in))
}

func (s *shaky) InstallPath(ctx context.Context, p fabric.Path) error {
	s.ids = append(s.ids, p.ID)
	if err := fails(&s.installs); err != nil {
		return err
	}
	return s.Fabric.InstallPath(ctx, p)
}

func (s *shaky) SetIngress(ctx context.Context, in fabric.Ingress) error {
	if err := fails(&s.ingress); err != nil {
		return err
	}
	return s.Fabric.SetIngress(ctx, in)
}

// A switch that is away for a while gets everything when it is back, the same
// paths under the same ids.
func TestDataPlaneAway(t *testing.T) {
	node := petest.Node(t)
	synctest.Test(t, func(t *testing.T) {
		s := &shaky{Fabric: petest.NewFabric(), starts: 2, installs: 3, ingress: 2}
		var said []string
		r, err := router.New(node, s, router.Options{Log: func(err error) { said = append(said, err.Error()) }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b := &bench{T: t, node: node, f: s.Fabric, r: r}
		b.want("default", b.lsp(default2), "pe1-p1 p1-pe2")
		if d := s.Ingress().Defaults; len(d) != 2 {
			t.Error("defaults", d)
		}
		if len(s.ids) != 5 || s.ids[0] != s.ids[3] || s.ids[3] == s.ids[4] {
			t.Error("ids of installs", s.ids)
		}
		if len(said) != 2 { // installing and classifying fail with the same words
			t.Error("each trouble is said once:", said)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// stuck is a data plane that does not answer.
type stuck struct{ *petest.Fabric }

func (stuck) Start(ctx context.Context, _ []fabric.Path, _ fabric.Ingress) error {
	<-ctx.Done()
	return ctx.Err()
}

// A commit that waits for the data plane does not wait for ever.
func TestCommitDoesNotHang(t *testing.T) {
	node := petest.Node(t)
	synctest.Test(t, func(t *testing.T) {
		s := stuck{petest.NewFabric()}
		r, err := router.New(node, s, router.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		begin, base := time.Now(), r.Config()
		if err := r.Commit(base, base.Clone()); err != nil || time.Since(begin) != 500*time.Millisecond {
			t.Error("commit:", err, "after", time.Since(begin))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
