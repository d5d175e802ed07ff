# The password comes from its file into a configuration in memory, so that no list of processes shows it.
set -eu
umask 077
{
  cat /etc/redis/redis.conf
  printf 'requirepass "%s"\n' "$(sed 's/[\\"]/\\&/g' /run/secrets/redis/redis-password)"
} >/run/redis/redis.conf
exec redis-server /run/redis/redis.conf
