// An independent OpenID provider (npm oidc-provider) with one confidential client and one person, alice.
//
//   node oidc_provider.mjs --modules DIR --redirect-uri URI [options]
//
// Prints one JSON line, {"issuer", "client_id", "client_secret"}, once it answers; ends when stdin closes.
// Logins pass through without a page unless --form is given (then oidc-provider's own pages ask; any name will do).
// Differs from Dex on purpose: PKCE is required, `iss` is in the callback, dead refresh tokens are `invalid_grant`,
// end_session and revocation exist, `offline_access` is dropped without `prompt=consent` (the refresh token comes anyway).
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    modules: { type: 'string', default: 'node_modules' }, // a node_modules directory, see npm.py
    port: { type: 'string', default: '0' }, // 0 = a free one
    host: { type: 'string', default: '127.0.0.1' }, // the issuer's host name; only loopback is listened on
    'client-id': { type: 'string', default: 'oidcgate' },
    'client-secret': { type: 'string', default: 'a-secret-for-tests-only' },
    'auth-method': { type: 'string', default: 'client_secret_basic' },
    'redirect-uri': { type: 'string', multiple: true, default: [] },
    'post-logout-uri': { type: 'string', multiple: true, default: [] },
    'backchannel-logout-uri': { type: 'string' },
    alg: { type: 'string', default: 'RS256' }, // or ES256
    'id-token-ttl': { type: 'string', default: '3600' }, // seconds
    form: { type: 'boolean', default: false },
  },
});
if (!options['redirect-uri'].length) throw new Error('--redirect-uri is missing');

const { Provider } = await import(pathToFileURL(resolve(join(options.modules, 'oidc-provider/lib/index.js'))));

function signingKey(alg) {
  const pair = alg === 'RS256'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...pair.privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomBytes(8).toString('hex') };
}

function account(sub) {
  return {
    accountId: sub,
    claims: () => ({
      sub,
      email: `${sub}@example.com`,
      email_verified: true,
      name: sub[0].toUpperCase() + sub.slice(1),
      preferred_username: sub,
      groups: ['platform-admins'],
    }),
  };
}

// Whatever a client asks for is granted: there is one client, and it is ours.
async function grantEverything(ctx) {
  const { client, session, provider } = ctx.oidc;
  const known = ctx.oidc.result?.consent?.grantId || session.grantIdFor(client.clientId);
  const grant = (known && await provider.Grant.find(known))
    || new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(client.scope);
  await grant.save();
  return grant;
}

function configuration() {
  const client = {
    client_id: options['client-id'],
    client_secret: options['client-secret'],
    redirect_uris: options['redirect-uri'],
    post_logout_redirect_uris: options['post-logout-uri'],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: options['auth-method'],
    id_token_signed_response_alg: options.alg,
    scope: 'openid email profile groups offline_access',
  };
  if (options['backchannel-logout-uri']) {
    client.backchannel_logout_uri = options['backchannel-logout-uri'];
    client.backchannel_logout_session_required = true;
  }
  return {
    clients: [client],
    jwks: { keys: ['RS256', 'ES256'].map(signingKey) },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    scopes: ['openid', 'offline_access', 'groups'],
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'preferred_username'],
      groups: ['groups'],
    },
    conformIdTokenClaims: false, // claims in the ID token, as Dex does
    pkce: { required: () => true },
    ttl: {
      AccessToken: 3600,
      AuthorizationCode: 60,
      Grant: 86400,
      IdToken: Number(options['id-token-ttl']),
      Interaction: 600,
      RefreshToken: 86400,
      Session: 86400,
    },
    issueRefreshToken: () => true,
    expiresWithSession: () => false,
    rotateRefreshToken: true,
    findAccount: (_ctx, sub) => account(sub),
    ...(options.form ? {} : { loadExistingGrant: grantEverything }),
    features: {
      devInteractions: { enabled: options.form },
      revocation: { enabled: true },
      backchannelLogout: { enabled: Boolean(options['backchannel-logout-uri']) },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource(ctx, form) {
          ctx.body = `<!doctype html><title>Sign out</title>${form}
            <button id="yes" type="submit" form="op.logoutForm" name="logout" value="yes">Yes, sign me out</button>
            ${options.form ? '' : '<script>document.getElementById("yes").click()</script>'}`;
        },
        postLogoutSuccessSource(ctx) {
          ctx.body = '<!doctype html><title>Signed out</title><p>Signed out.</p>';
        },
      },
    },
  };
}

function listener(provider) {
  const answer = provider.callback();
  return (request, response) => {
    if (!options.form && request.url.startsWith('/interaction/')) {
      provider
        .interactionFinished(request, response, { login: { accountId: 'alice' }, consent: {} })
        .catch((error) => response.writeHead(400, { 'content-type': 'text/plain' }).end(error.message));
      return;
    }
    answer(request, response);
  };
}

const server = createServer();
server.listen(Number(options.port), '127.0.0.1', () => {
  const issuer = `http://${options.host}:${server.address().port}`;
  const provider = new Provider(issuer, configuration());
  provider.on('server_error', (_ctx, error) => console.error(error));
  server.on('request', listener(provider));
  console.log(JSON.stringify({
    issuer, client_id: options['client-id'], client_secret: options['client-secret'],
  }));
});
process.stdin.on('end', () => process.exit(0)).resume();
