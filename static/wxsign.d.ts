/** Types of wxsign.js, the browser client of the wxsign signature service. */

/** What every JS interface of WeChat's script takes. */
export interface WxCallbacks {
  success?: (result: any) => void;
  fail?: (result: any) => void;
  cancel?: (result: any) => void;
  complete?: (result: any) => void;
  /** Share menus only: the user tapped the menu item. */
  trigger?: (result: any) => void;
  [parameter: string]: unknown;
}

/** The part of WeChat's script that wxsign calls itself; any other interface is callable by its name. */
export interface Wx {
  config(parameters: object): void;
  ready(callback: () => void): void;
  error(callback: (result: { errMsg: string }) => void): void;
  invoke?(name: string, parameters: object, callback: (result: any) => void): void;
  [jsInterface: string]: any;
}

/** A remark of the service on the URL that was signed. */
export interface Warning {
  code: string;
  message: string;
  hint: string;
}

/** A cause that the service found; `id` leads into docs/troubleshooting.md. */
export interface Finding {
  id: string;
  certainty: 'certain' | 'likely' | 'possible';
  message: string;
  hint: string;
  evidence: Record<string, string>;
  docs: string;
}

/** The answer of /jsconfig; it can be passed to wx.config as it is. */
export interface JsConfig {
  appId: string;
  timestamp: number;
  nonceStr: string;
  signature: string;
  /** The URL that was signed. */
  url: string;
  /** The URL that the document was opened at, where it is another one: what WeChat on iOS compares. */
  landing?: { url: string; signature: string };
  jsApiList: string[];
  openTagList: string[];
  warnings?: Warning[];
  /** X-Request-Id of the answer; empty where the browser may not read it. */
  requestId: string;
}

export type StepName = 'script' | 'signature' | 'config' | 'agent' | 'ready';

/** One thing that happened: a step began, remarked something (a host failed), ended or failed. */
export interface Step {
  name: StepName;
  state: 'start' | 'note' | 'done' | 'failed';
  /** Milliseconds from the start of the run to the start of this step. */
  atMs: number;
  /** Milliseconds since the start of this step. */
  ms: number;
  detail?: string;
  result?: unknown;
  error?: Error;
}

export interface Options {
  /** Address of the service's /jsconfig. Default: beside the folder that wxsign.js came from. */
  endpoint?: string;
  /** Account name or appid; only needed where several accounts share a host. */
  account?: string;
  /** Page URL to sign. Default: location.href up to the first '#'. */
  url?: string;
  /** Tell the service of a refused signature, so that it looks for a replaced ticket or names the cause. Default: true. */
  report?: boolean;
  /** Sign again after each route change, for open tags; on iOS there is nothing to sign. */
  follow?: boolean;
  /** WeChat's own debug mode: alerts every result. */
  debug?: boolean;
  /** JS interfaces to ask for. Default: the account's list. */
  jsApiList?: readonly string[];
  /** Open tags (wx-open-launch-app …) to ask for. Default: the account's list. */
  openTagList?: readonly string[];
  /** WeChat's interface, if the page has loaded it by itself. */
  wx?: Wx;
  /** Longest wait of each step, in milliseconds. Default 12000. */
  timeoutMs?: number;
  /** Addresses of WeChat's script, tried in this order. */
  scripts?: readonly string[];
  /** Told of every step as it happens. */
  onStep?: (step: Step) => void;
}

export interface Outcome {
  wx: Wx;
  config: JsConfig;
  warnings: Warning[];
}

/** Codes of wxsign.js itself; the service's own (host_not_allowed …) come as they are. */
export type OwnCode =
  | 'script_failed' | 'no_wx' | 'network' | 'bad_answer' | 'not_wechat' | 'no_answer' | 'invalid_signature'
  | 'invalid_url_domain' | 'require_subscribe' | 'permission_denied' | 'offline_verifying' | 'config_failed'
  | 'not_a_browser' | 'no_such_interface' | 'call_failed' | 'cancelled';

export class WxsignError extends Error {
  constructor(code: string, message: string, more?: Partial<Pick<WxsignError, 'hint' | 'errMsg' | 'requestId' | 'warnings'>>);
  /** One of OwnCode, or the code of the service's error. */
  readonly code: OwnCode | (string & {});
  /** What to do about it. */
  readonly hint: string;
  /** WeChat's own words, e.g. "config:invalid signature"; empty if it said nothing. */
  readonly errMsg: string;
  /** Id of the request in the service's log; empty if none was made. */
  readonly requestId: string;
  readonly warnings: Warning[];
  /** What the service found out about a refused signature, the most certain first; empty where nothing was reported. */
  readonly findings: Finding[];
}

/** Resolves when WeChat accepted the configuration, rejects with a WxsignError that says why not. */
export function ready(options?: Options): Promise<Outcome>;

/** What a friend sees of a shared page. */
export interface Card {
  title?: string;
  desc?: string;
  /** Absolute http(s) address; by default the page's own. code, state, from, isappinstalled and nsukey are left out of it. */
  link?: string;
  /** Absolute http(s) address of the picture. */
  imgUrl?: string;
}

/** Sets the card for friends and the one for Moments, after ready(), and again after a route change. */
export function share(card: Card): Promise<unknown>;

/** Calls an interface of WeChat's by its name, after ready(); rejects with `cancelled`, `call_failed` or `no_such_interface`. */
export function call(name: string, parameters?: object): Promise<any>;

/** The /jsconfig beside the folder that a copy of wxsign.js was loaded from. */
export function endpointBeside(scriptUrl: string): string;

/** Used where no option `endpoint` is given; set it as a property: wxsign.endpoint = '/wx/jsconfig'. */
export let endpoint: string;

export as namespace wxsign;

declare global {
  interface Window {
    wxsign: typeof import('./wxsign.js');
  }
}
