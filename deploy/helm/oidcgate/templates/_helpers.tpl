{{- define "oidcgate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "oidcgate.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := include "oidcgate.name" . }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "oidcgate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "oidcgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gate
{{- end }}

{{- define "oidcgate.redisSelectorLabels" -}}
app.kubernetes.io/name: {{ include "oidcgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: redis
{{- end }}

{{- define "oidcgate.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: oidcgate
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "oidcgate.labels" -}}
{{ include "oidcgate.selectorLabels" . }}
{{ include "oidcgate.commonLabels" . }}
{{- end }}

{{- define "oidcgate.redisLabels" -}}
{{ include "oidcgate.redisSelectorLabels" . }}
{{ include "oidcgate.commonLabels" . }}
{{- end }}

{{- define "oidcgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "oidcgate.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "oidcgate.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* Secrets. Each of the three is the user's (existingSecret), given by value, or made by the chart; "" = there is none. */}}

{{- define "oidcgate.hasRedis" -}}
{{- if regexMatch "^(redis|unix)" (include "oidcgate.store" .) }}true{{ end }}
{{- end }}

{{- define "oidcgate.makesKeys" -}}
{{- if and (include "oidcgate.hasRedis" .) (not .Values.sessionKeys.existingSecret) (not .Values.sessionKeys.value) (not (dig "session" "keys_file" "" .Values.config)) }}true{{ end }}
{{- end }}

{{- define "oidcgate.makesRedisPassword" -}}
{{- if and .Values.redis.deploy (not .Values.redis.password.existingSecret) (not .Values.redis.password.value) }}true{{ end }}
{{- end }}

{{- define "oidcgate.hasRedisPassword" -}}
{{- if or .Values.redis.deploy .Values.redis.password.existingSecret .Values.redis.password.value }}true{{ end }}
{{- end }}

{{- define "oidcgate.redisPasswordSource" -}}
{{- $made := printf "%s-made" (include "oidcgate.fullname" .) -}}
name: {{ .Values.redis.password.existingSecret | default (ternary $made (include "oidcgate.fullname" .) (eq (include "oidcgate.makesRedisPassword" .) "true")) }}
items:
  - key: {{ ternary .Values.redis.password.key "redis-password" (not (empty .Values.redis.password.existingSecret)) }}
    path: redis-password
{{- end }}

{{/* What comes into /run/secrets/oidcgate, as the sources of a projected volume. */}}
{{- define "oidcgate.secretSources" -}}
{{- $own := include "oidcgate.fullname" . }}
{{- with .Values.clientSecret }}
{{- if or .existingSecret .value }}
- secret:
    name: {{ default $own .existingSecret }}
    items:
      - key: {{ ternary .key "client-secret" (not (empty .existingSecret)) }}
        path: client-secret
{{- end }}
{{- end }}
{{- with .Values.sessionKeys }}
{{- if or .existingSecret .value }}
- secret:
    name: {{ default $own .existingSecret }}
    items:
      - key: {{ ternary .key "keys" (not (empty .existingSecret)) }}
        path: keys
{{- end }}
{{- end }}
{{- if include "oidcgate.makesKeys" . }}
- secret:
    name: {{ $own }}-made
    items:
      - key: keys
        path: keys
{{- end }}
{{- if include "oidcgate.hasRedisPassword" . }}
- secret:
    {{- include "oidcgate.redisPasswordSource" . | nindent 4 }}
{{- end }}
{{- range .Values.extraSecrets }}
- secret:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* The gate's configuration: what the values say, over what the chart knows. */}}

{{- define "oidcgate.store" -}}
{{- $said := dig "session" "store" "" .Values.config }}
{{- if $said }}
{{- $said }}
{{- else }}
{{- $url := .Values.redis.url }}
{{- if .Values.redis.deploy }}
{{- $url = printf "redis://%s-redis:6379/0" (include "oidcgate.fullname" .) }}
{{- end }}
{{- if and $url (include "oidcgate.hasRedisPassword" .) }}
{{- $url = printf "%s%spassword_file=/run/secrets/oidcgate/redis-password" $url (ternary "&" "?" (contains "?" $url)) }}
{{- end }}
{{- $url }}
{{- end }}
{{- end }}

{{- define "oidcgate.config" -}}
{{- $provider := dict }}
{{- if and (or .Values.clientSecret.existingSecret .Values.clientSecret.value) (not (dig "provider" "client_secret_env" "" .Values.config)) }}
{{- $provider = dict "client_secret_file" "/run/secrets/oidcgate/client-secret" }}
{{- end }}
{{- $session := dict "state_dir" "/var/lib/oidcgate" }}
{{- with include "oidcgate.store" . }}
{{- $_ := set $session "store" . }}
{{- end }}
{{- if or .Values.sessionKeys.existingSecret .Values.sessionKeys.value (include "oidcgate.makesKeys" .) }}
{{- $_ := set $session "keys_file" "/run/secrets/oidcgate/keys" }}
{{- end }}
{{- $known := dict "listen" (list "0.0.0.0:8080") "admin" (dict "listen" "0.0.0.0:8081") "session" $session }}
{{- if $provider }}
{{- $_ := set $known "provider" $provider }}
{{- end }}
{{- toYaml (mustMergeOverwrite $known (deepCopy .Values.config)) }}
{{- end }}

{{/* The ports that the configuration listens on, of the pod. */}}

{{- define "oidcgate.listen" -}}
{{- $listen := (include "oidcgate.config" . | fromYaml).listen }}
{{- $all := kindIs "string" $listen | ternary (list $listen) $listen }}
{{- range $all }}
{{- if not (hasPrefix "unix:" .) }}
{{- . }}{{ break }}
{{- end }}
{{- end }}
{{- end }}

{{- define "oidcgate.port" -}}
{{- regexFind "[0-9]+$" (include "oidcgate.listen" .) | default "8080" }}
{{- end }}

{{- define "oidcgate.adminPort" -}}
{{- regexFind "[0-9]+$" (include "oidcgate.adminListen" .) | default "8081" }}
{{- end }}

{{- define "oidcgate.adminListen" -}}
{{- with (include "oidcgate.config" . | fromYaml).admin }}
{{- .listen | default "127.0.0.1:8081" }}
{{- end }}
{{- end }}

{{- define "oidcgate.scheme" -}}
{{- if .Values.config.tls }}https{{ else }}http{{ end }}
{{- end }}

{{/* The sites' hosts, one a line, without ports; *.domain for every host below it. */}}
{{- define "oidcgate.hosts" -}}
{{- $hosts := list }}
{{- range .Values.config.sites }}
{{- $hosts = append $hosts (regexReplaceAll "^https?://|(:[0-9]+)?/?$" (lower (toString .url)) "") }}
{{- end }}
{{- uniq $hosts | join "\n" }}
{{- end }}

