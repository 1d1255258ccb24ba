// What others do for the same page: `node peers.cjs NAME`, with the packages in NODE_PATH. As many processes as PROCESSES says, on PORT.
'use strict';

const cluster = require('node:cluster');
const crypto = require('node:crypto');

const { APP_ID: appId, APP_SECRET: appSecret, API_BASE: base, PORT: port } = process.env;
// The lists that the service answers with, so that all answers have the same size.
const lists = JSON.parse(process.env.LISTS);

/** wechat-jssdk on Express, as its README shows it. */
function jssdk() {
  const { Wechat } = require('wechat-jssdk');
  const { jssdk } = new Wechat({
    wechatRedirectUrl: 'http://127.0.0.1/oauth',
    wechatToken: 'bench',
    appId,
    appSecret,
    accessTokenUrl: `${base}/cgi-bin/token`,
    ticketUrl: `${base}/cgi-bin/ticket/getticket`,
    storeOptions: { fileStorePath: process.env.STORE },
  });
  const app = require('express')();
  app.get('/jsconfig', async (request, response) => {
    const signature = await jssdk.getSignature(request.query.url);
    allow(request, (name, value) => response.set(name, value));
    response.json({ ...signature, ...lists });
  });
  app.listen(port, '127.0.0.1');
}

/** co-wechat-api on Koa. */
function coWechatApi() {
  const api = new (require('co-wechat-api'))(appId, appSecret);
  api.prefix = `${base}/cgi-bin/`;
  const app = new (require('koa'))();
  app.use(async (ctx) => {
    const config = await api.getJsConfig({ debug: false, jsApiList: lists.jsApiList, url: ctx.query.url });
    allow(ctx.request, (name, value) => ctx.set(name, value));
    ctx.body = { ...config, url: ctx.query.url, openTagList: lists.openTagList };
  });
  app.listen(port, '127.0.0.1');
}

/** What one writes by hand on Fastify, with the ticket at hand. */
function fastify() {
  const ticket = `bench-ticket-${'0'.repeat(73)}`;
  const app = require('fastify')();
  app.get('/jsconfig', (request, reply) => {
    const url = request.query.url.split('#')[0];
    const nonceStr = crypto.randomBytes(8).toString('hex');
    const timestamp = Math.floor(Date.now() / 1000);
    const text = `jsapi_ticket=${ticket}&noncestr=${nonceStr}&timestamp=${timestamp}&url=${url}`;
    const signature = crypto.createHash('sha1').update(text).digest('hex');
    allow(request, (name, value) => reply.header(name, value));
    reply.send({ appId, timestamp, nonceStr, signature, url, ...lists });
  });
  app.listen({ port: Number(port), host: '127.0.0.1' });
}

function allow(request, set) {
  set('Access-Control-Allow-Origin', request.headers.origin);
  set('Vary', 'Origin');
  set('Cache-Control', 'no-store');
}

if (cluster.isPrimary) {
  for (let number = 0; number < Number(process.env.PROCESSES); number++) cluster.fork();
  process.on('SIGTERM', () => process.exit(0));
} else {
  ({ 'wechat-jssdk': jssdk, 'co-wechat-api': coWechatApi, fastify })[process.argv[2]]();
}
