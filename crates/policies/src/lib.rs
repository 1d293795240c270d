//! One file a policy, and the chain. Verdicts only, no metrics.
