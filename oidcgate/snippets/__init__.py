"""
Configurations for the proxies that ask the gate, one file a proxy.

Pure: text from a ``Plan``. Each holds what that proxy gets wrong by default, with the reason beside it.
"""

PROXIES = {
    "nginx": "nginx",
    "ingress-nginx": "ingress_nginx",
    "traefik": "traefik",
    "traefik-crd": "traefik_crd",
    "caddy": "caddy",
    "envoy": "envoy",
    "envoy-gateway": "envoy_gateway",
    "gateway-api": "gateway_api",
    "haproxy": "haproxy",
}
