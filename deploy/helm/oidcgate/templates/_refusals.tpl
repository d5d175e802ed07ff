{{/* What would not work, each with a sentence that says what to change. `oidcgate check` says the rest at the start. */}}
{{- define "oidcgate.refusals" -}}
{{- include "oidcgate.refuseUnfinished" . }}
{{- include "oidcgate.refuseUnreachable" . }}
{{- include "oidcgate.refuseReplicas" . }}
{{- include "oidcgate.refuseHosts" (list . "ingress.hosts" (ternary .Values.ingress.hosts list .Values.ingress.enabled)) }}
{{- include "oidcgate.refuseHosts" (list . "httpRoute.hostnames" (ternary .Values.httpRoute.hostnames list .Values.httpRoute.enabled)) }}
{{- include "oidcgate.refuseCertificates" . }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs is empty: name the gateway that carries the sites, such as [{name: public, namespace: gateways}]" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.adminFrom) }}
{{- fail "serviceMonitor.enabled needs to know where Prometheus is: name it in networkPolicy.adminFrom, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]" }}
{{- end }}
{{- end }}

{{- define "oidcgate.refuseUnfinished" -}}
{{- $provider := .Values.config.provider | default dict }}
{{- $_ := required "config.provider.issuer is missing: write the issuer exactly as in Dex's own configuration, such as https://dex.example.com" $provider.issuer }}
{{- $_ := required "config.provider.client_id is missing: write the id of the gate's static client in Dex, such as oidcgate" $provider.client_id }}
{{- if not .Values.config.sites }}
{{- fail "config.sites is empty: write what browsers open and the UI behind it, such as [{url: https://dashboard.example.com, upstream: {url: https://kubernetes-dashboard.kubernetes-dashboard.svc, ui: dashboard-2}}]" }}
{{- end }}
{{- range $index, $site := .Values.config.sites }}
{{- $_ := required (printf "config.sites[%d].url is missing: write the address that browsers use, such as https://dashboard.example.com" $index) $site.url }}
{{- end }}
{{- end }}

{{- define "oidcgate.refuseUnreachable" -}}
{{- $listen := include "oidcgate.listen" . }}
{{- if or (not $listen) (regexMatch "^(127\\.|localhost|\\[::1\\])" $listen) }}
{{- fail "config.listen must be on the pod's address, or no Service reaches the gate: leave it out, or write [\":8080\"]" }}
{{- end }}
{{- if eq (include "oidcgate.port" .) (include "oidcgate.adminPort" .) }}
{{- fail (printf "config.listen and config.admin.listen are both on port %s: give one of them another" (include "oidcgate.port" .)) }}
{{- end }}
{{- if not (regexMatch "^(0\\.0\\.0\\.0|\\[::\\])?:[0-9]+$" (include "oidcgate.adminListen" .)) }}
{{- fail "config.admin.listen must be on every address of the pod, or the kubelet's probes do not reach it: leave it out, or write \":8081\"" }}
{{- end }}
{{- end }}

{{- define "oidcgate.refuseReplicas" -}}
{{- $several := or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) }}
{{- $what := ternary "autoscaling.enabled" "replicas above 1" .Values.autoscaling.enabled }}
{{- if and .Values.redis.deploy .Values.redis.url }}
{{- fail "redis.deploy and redis.url are both set: keep the one that you mean" }}
{{- end }}
{{- if and (dig "session" "store" "" .Values.config) (or .Values.redis.deploy .Values.redis.url) }}
{{- fail "config.session.store and redis.url or redis.deploy are both set: keep the one that you mean" }}
{{- end }}
{{- if regexMatch "^[a-z+]+://[^/@]*:[^/@]*@" (include "oidcgate.store" .) }}
{{- fail "the URL of Redis holds a password, and would be in a ConfigMap with it: put the password into a Secret, and name that in redis.password.existingSecret" }}
{{- end }}
{{- if and $several (not (include "oidcgate.hasRedis" .)) }}
{{- fail (printf "%s needs sessions that the replicas share: set redis.url to a Redis of yours (or redis.deploy: true to try), or keep one replica" $what) }}
{{- end }}
{{- if and $several (include "oidcgate.makesKeys" .) }}
{{- fail (printf "%s needs session keys that every replica has: put a line from `oidcgate secret` into a Secret and name it in sessionKeys.existingSecret" $what) }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas: raise one or lower the other" }}
{{- end }}
{{- $least := add (int .Values.preStopSeconds) 36 }}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) }}
{{- fail (printf "terminationGracePeriodSeconds is too short for the gate's drain: write %d or more, or lower preStopSeconds" $least) }}
{{- end }}
{{- end }}

{{/* A certificate for a host that is no site: the controller would show browsers its own in place of it. */}}
{{- define "oidcgate.refuseCertificates" -}}
{{- $sites := splitList "\n" (include "oidcgate.hosts" .) }}
{{- range ternary .Values.ingress.tls list .Values.ingress.enabled }}
{{- range $host := .hosts }}
{{- $found := false }}
{{- range $sites }}
{{- if or (eq . $host) (and (hasPrefix "*." .) (hasSuffix (trimPrefix "*" .) $host)) (and (hasPrefix "*." $host) (hasSuffix (trimPrefix "*" $host) .)) }}
{{- $found = true }}
{{- end }}
{{- end }}
{{- if not $found }}
{{- fail (printf "ingress.tls: %s is no site of the gate (%s): correct it, or take it out" $host (join ", " $sites)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Arguments: the root, the key, its hosts. */}}
{{- define "oidcgate.refuseHosts" -}}
{{- $sites := splitList "\n" (include "oidcgate.hosts" (index . 0)) }}
{{- $key := index . 1 }}
{{- range $host := index . 2 }}
{{- $found := has $host $sites }}
{{- range $sites }}
{{- if and (hasPrefix "*." .) (hasSuffix (trimPrefix "*" .) $host) }}
{{- $found = true }}
{{- end }}
{{- end }}
{{- if not $found }}
{{- fail (printf "%s: %s is no site of the gate (%s): add it to config.sites, or take it out; an empty list means every site" $key $host (join ", " $sites)) }}
{{- end }}
{{- end }}
{{- end }}
