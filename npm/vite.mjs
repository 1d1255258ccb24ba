// wxsign/vite: while `vite dev` runs, WeChat's in-app browser of the sandbox in every page, and the service beside the app.
// In `vite build` it does nothing.
const SANDBOX = 'http://127.0.0.1:8001';
const SERVICE = 'http://127.0.0.1:8000';
const PATHS = ['/jsconfig', '/agentconfig', '/report', '/diagnose'];

export default function wxsign({ sandbox = SANDBOX, service = SERVICE, mode = '' } = {}) {
  const bridge = `${sandbox}/sandbox/bridge.js${mode && `?mode=${mode}`}`;
  return {
    name: 'wxsign',
    apply: 'serve',
    config: () => ({ server: { proxy: Object.fromEntries(PATHS.map((path) => [path, { target: service }])) } }),
    configureServer({ config, httpServer }) {
      httpServer?.once('listening', () => fetch(bridge, { method: 'HEAD' }).catch(() => config.logger.warn(
        `wxsign: no sandbox at ${sandbox}: run "wxsign dev" beside this. 沙箱没有启动：请同时运行 wxsign dev。`,
      )));
    },
    // Before WeChat's script, which looks for its browser when it is loaded.
    transformIndexHtml: {
      order: 'pre',
      handler: () => [{ tag: 'script', attrs: { src: bridge }, injectTo: 'head-prepend' }],
    },
  };
}
