"""NCR: learning with noisy correspondence (Huang et al., NeurIPS 2021)."""
