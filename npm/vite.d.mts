/** Options of the plugin; the defaults are those of `wxsign dev`. */
export interface SandboxOptions {
  /** Where the sandbox runs. Default: http://127.0.0.1:8001 */
  sandbox?: string;
  /** Where the service runs; /jsconfig of the app leads there. Default: http://127.0.0.1:8000 */
  service?: string;
  /** Which client the sandbox plays: '' (WeChat), 'wecom', 'devtools', 'harmonyos', 'old', 'slow' or 'none'. */
  mode?: string;
}

/** Puts the sandbox's bridge into pages of `vite dev`; leaves no trace in `vite build`. */
export default function wxsign(options?: SandboxOptions): {
  name: string;
  apply: 'serve';
  config: () => { server: { proxy: Record<string, { target: string }> } };
  configureServer: (server: { config: { logger: { warn(text: string): void } }; httpServer: { once(event: string, listener: () => void): unknown } | null }) => void;
  transformIndexHtml: { order: 'pre'; handler: () => { tag: string; attrs: { src: string }; injectTo: 'head-prepend' }[] };
};
