"""What a control plane in the lab is made of: the real programs, certificates, an issuer that it can trust."""
