"""The demo issuer as a process: clients as JSON on the command line, its URL on stdout, ends with stdin."""

import asyncio
import json
import sys

from oidcgate.demo.issuer import DEMO_PEOPLE, Client, DemoIssuer


async def main() -> None:
    clients = [Client(one["id"], one["secret"], tuple(one["redirect_uris"])) for one in json.loads(sys.argv[1])]
    issuer = DemoIssuer(DEMO_PEOPLE, clients)
    await issuer.start()
    print(issuer.url, flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
