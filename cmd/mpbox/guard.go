package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"mpbox/southbound/ovs"
)

// newTapGuardCmd is `mpbox tap guard`: it keeps bridges forwarding while there is
// no controller.
func newTapGuardCmd() *cobra.Command {
	g := ovs.Guard{}
	once := false
	c := &cobra.Command{
		Use:   "guard --db unix:/run/openvswitch/db.sock",
		Short: "Lay port pairs again when a restarted ovs-vswitchd has lost them and no controller is there",
		Long: `Runs beside ovs-vswitchd. A restarted ovs-vswitchd has lost its flows, and a bridge
in fail mode secure then forwards nothing until its controller is back. The guard
looks each second: where a bridge that mpbox provisioned has no flows and no
connected controller, it joins the port pairs again. Nothing is ever flooded. When
mpbox is back, it takes these flows over.`,
		Example: `  mpbox tap guard --db unix:/run/openvswitch/db.sock
  # Look once, tell what was restored
  mpbox tap guard --once`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if once {
				restored, err := g.Once(c.Context())
				for _, r := range restored {
					if _, err := fmt.Fprintf(c.OutOrStdout(), "%s: joined %s\n", r.Bridge, ovs.FormatPairs(r.Pairs)); err != nil {
						return err
					}
				}
				return err
			}
			cfg := zap.NewProductionConfig()
			cfg.Encoding, cfg.EncoderConfig = "console", zap.NewDevelopmentEncoderConfig()
			log, err := cfg.Build()
			if err != nil {
				return fmt.Errorf("start log: %w", err)
			}
			g.Log = log
			return g.Run(c.Context())
		},
	}
	c.Flags().StringVar(&g.DB, "db", "unix:/var/run/openvswitch/db.sock", "OVSDB server: unix:/path or tcp:host:port")
	c.Flags().StringVar(&g.RunDir, "rundir", "", "where ovs-vswitchd has the bridges' sockets (default: the folder of the database's socket)")
	c.Flags().DurationVar(&g.Interval, "interval", time.Second, "time between two looks")
	c.Flags().BoolVar(&once, "once", false, "look once and exit")
	return c
}
