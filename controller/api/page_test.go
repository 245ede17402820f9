package api

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"mpbox/internal/itest"
)

// The web page in a real browser: it draws what the API tells, follows events,
// approves plans, and asks for a token.
func TestIntegrationPage(t *testing.T) {
	itest.Need(t, "chromium")
	f := newFake()
	addr := "http://" + start(t, newServer(t, f, withTokens, func(o *Options) { o.Listen = []string{"127.0.0.1:0"} }))[0].String()

	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.ExecPath("chromium"))
	ctx, cancelBrowser := chromedp.NewExecAllocator(ctx, opts...)
	defer cancelBrowser()
	ctx, cancelTab := chromedp.NewContext(ctx)
	defer cancelTab()

	var mu sync.Mutex
	var complaints []string
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			complaints = append(complaints, fmt.Sprint(ev.ExceptionDetails.Text, ev.ExceptionDetails.Exception))
		case *log.EventEntryAdded:
			if !strings.Contains(ev.Entry.Text, "401") {
				complaints = append(complaints, ev.Entry.Text)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatal(err)
		}
	}
	// until waits for a JavaScript expression to be true.
	until := func(what, expression string) {
		t.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(15 * time.Second); ; <-tick.C {
			ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
			if err == nil && ok {
				return
			}
			if time.Now().After(deadline) {
				text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
				t.Fatalf("%s: %v\n%s", what, err, text)
			}
		}
	}
	rows := func(id string) string { return fmt.Sprintf("document.querySelectorAll('#%s tbody tr').length", id) }

	do(chromedp.Navigate(addr))
	until("a token is asked for", "!document.getElementById('login').hidden")
	do(chromedp.SendKeys("#token", secret), chromedp.Click("#login button"))
	until("5 connections with 2 subflows in 2 directions", rows("connections")+" === 25")
	until("the status", "document.getElementById('status').textContent.includes('suggest')")
	until("nodes and links", "document.querySelectorAll('#topology .node').length === 3 && document.querySelectorAll('#topology line').length === 2")
	until("a link that is down", "document.querySelectorAll('#topology line.down').length === 1")
	until("all tables", rows("bindings")+" === 1 && "+rows("lsps")+" === 2 && "+rows("pes")+" === 2 && "+rows("datapaths")+" === 2 && "+rows("mirrors")+" === 2")

	do(chromedp.Evaluate[chromedp.Void]("document.querySelector('#bindings tbody tr').dispatchEvent(new PointerEvent('pointerenter'))"))
	until("the binding's route is shown", "document.querySelector('#topology line.on').dataset.link === 'pe1-p1'")

	f.audit("mpbox", "bind", "<b>not HTML</b>")
	until("the change without loading the page again", "document.querySelector('#changes').innerText.includes('<b>not HTML</b>')")

	do(chromedp.Click("#plans button"))
	until("the plan runs", "document.querySelector('#plans').innerText.includes('running')")
	until("the audit has it", "document.querySelector('#changes').innerText.includes('token:token-3')")

	if file := os.Getenv("MPBOX_SCREENSHOT"); file != "" {
		png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(complaints) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(complaints, "\n"))
	}
}
