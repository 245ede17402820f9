package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mpbox/controller"
	"mpbox/controller/config"
)

// newRunCmd is the controller itself.
func newRunCmd() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run the controller",
		Long: `Runs the controller until it gets SIGINT or SIGTERM. What it does to routers is the
mode's matter: observe (the default) never touches one. Bridges, LSPs and bindings
stay as they are when it ends, and are taken over when it starts again.`,
		Example: `  mpbox config check mpbox.yaml
  mpbox run --config mpbox.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			log, err := newLogger(cfg.Log)
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings {
				log.Warn("configuration: " + w.String())
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return run(ctx, cfg, log)
		},
	}
	c.Flags().StringVarP(&path, "config", "c", "", "configuration file")
	_ = c.MarkFlagRequired("config")
	return c
}

func run(ctx context.Context, cfg *config.Config, log *zap.Logger) error {
	c, err := controller.New(cfg, version(), log)
	if err != nil {
		return err
	}
	if cfg.Tap.ThirdACK == "reactive" && cfg.Tap.RealTime {
		if err := realTime(); err != nil {
			log.Warn("third ACKs will be missed when the machine is busy", zap.Error(err))
		}
	}
	err = c.Run(ctx)
	log.Info("mpbox ends", zap.Error(err))
	return err
}

// newLogger logs to stderr: stdout is for answers.
func newLogger(l config.Log) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(l.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	o := zap.NewProductionConfig()
	o.Level, o.Encoding, o.OutputPaths, o.ErrorOutputPaths = zap.NewAtomicLevelAt(level), l.Format, []string{"stderr"}, []string{"stderr"}
	o.Sampling, o.DisableCaller, o.DisableStacktrace = nil, true, true
	o.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	return o.Build()
}
