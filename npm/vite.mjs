// wxsign/vite: while `vite dev` runs, WeChat's in-app browser of the sandbox in every page, and the service beside the app.
// In `vite build` it does nothing.
const SANDBOX = 'http://127.0.0.1:8001';
const SERVICE = 'http://127.0.0.1:8000';

export default function wxsign({ sandbox = SANDBOX, service = SERVICE, mode = '' } = {}) {
  return {
    name: 'wxsign',
    apply: 'serve',
    config: () => ({
      server: { proxy: Object.fromEntries(['/jsconfig', '/agentconfig', '/report', '/diagnose'].map((path) => [path, { target: service, changeOrigin: false }])) },
    }),
    // Before WeChat's script, which looks for its browser when it is loaded.
    transformIndexHtml: {
      order: 'pre',
      handler: () => [{ tag: 'script', attrs: { src: `${sandbox}/sandbox/bridge.js${mode && `?mode=${mode}`}` }, injectTo: 'head-prepend' }],
    },
  };
}
