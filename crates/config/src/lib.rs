//! YAML resources to a checked GatewayConfig; the watcher of conf.d; Live over arc-swap.
