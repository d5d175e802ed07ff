"""kubectl with the same account: a kubeconfig for a site, and the credential plugin that it names."""
