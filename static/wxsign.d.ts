/** Types of wxsign.js, the browser client of the wxsign signature service. */

/** What every JS interface of WeChat's script takes beside its own parameters. */
export interface WxCallbacks<Result = object> {
  success?: (result: Result & { errMsg: string }) => void;
  fail?: (result: { errMsg: string }) => void;
  cancel?: (result: { errMsg: string }) => void;
  complete?: (result: Result & { errMsg: string }) => void;
  /** Share menus only: the user tapped the menu item. */
  trigger?: (result: object) => void;
}

type Place = { latitude: number; longitude: number };
type LocalId = { localId: string };
type ServerId = { serverId: string };
type Nothing = Record<never, never>;
type Pay = { timestamp: number | string; nonceStr: string; package: string; signType?: string; paySign: string };
type SharedLink = { title?: string; desc?: string; link?: string; imgUrl?: string };
type SharedMedium = { type?: 'link' | 'music' | 'video'; dataUrl?: string };
/** What a button of WeChat's menu is called: menuItem:share:qq, menuItem:copyUrl … */
type MenuItem = `menuItem:${string}`;
type Version = { envVersion?: 'release' | 'trial' | 'develop' };
type Beacon = { uuid: string; major: string; minor: string; rssi: string; accuracy: string; proximity: string; heading: string };

/**
 * WeChat's JS interfaces: what each takes and gives. One that is missing here can be added:
 * `declare module 'wxsign' { interface Interfaces { openNewThing: [{ id: string }, { ok: boolean }] } }`
 * Source: the JS-SDK guide (developers.weixin.qq.com/doc/service/guide/h5/jssdk).
 */
export interface Interfaces {
  checkJsApi: [{ jsApiList: readonly ListedName[] }, { checkResult: Record<string, boolean> }];
  updateAppMessageShareData: [SharedLink, Nothing];
  updateTimelineShareData: [Omit<SharedLink, 'desc'>, Nothing];
  onMenuShareTimeline: [Omit<SharedLink, 'desc'> & SharedMedium, Nothing];
  onMenuShareAppMessage: [SharedLink & SharedMedium, Nothing];
  onMenuShareQQ: [SharedLink, Nothing];
  onMenuShareWeibo: [SharedLink, Nothing];
  onMenuShareQZone: [SharedLink, Nothing];
  startRecord: [Nothing, Nothing];
  stopRecord: [Nothing, LocalId];
  onVoiceRecordEnd: [Nothing, LocalId];
  playVoice: [LocalId, Nothing];
  pauseVoice: [LocalId, Nothing];
  stopVoice: [LocalId, Nothing];
  onVoicePlayEnd: [Nothing, LocalId];
  uploadVoice: [LocalId & { isShowProgressTips?: 0 | 1 }, ServerId];
  downloadVoice: [ServerId & { isShowProgressTips?: 0 | 1 }, LocalId];
  translateVoice: [LocalId & { isShowProgressTips?: 0 | 1 }, { translateResult: string }];
  chooseImage: [{ count?: number; sizeType?: readonly ('original' | 'compressed')[]; sourceType?: readonly ('album' | 'camera')[] }, { localIds: string[] }];
  previewImage: [{ current?: string; urls: readonly string[] }, Nothing];
  uploadImage: [LocalId & { isShowProgressTips?: 0 | 1 }, ServerId];
  downloadImage: [ServerId & { isShowProgressTips?: 0 | 1 }, LocalId];
  getLocalImgData: [LocalId, { localData: string }];
  getNetworkType: [Nothing, { networkType: string }];
  openLocation: [Place & { name?: string; address?: string; scale?: number; infoUrl?: string }, Nothing];
  getLocation: [{ type?: 'wgs84' | 'gcj02' }, Place & { speed: number; accuracy: number }];
  hideOptionMenu: [Nothing, Nothing];
  showOptionMenu: [Nothing, Nothing];
  hideMenuItems: [{ menuList: readonly MenuItem[] }, Nothing];
  showMenuItems: [{ menuList: readonly MenuItem[] }, Nothing];
  hideAllNonBaseMenuItem: [Nothing, Nothing];
  showAllNonBaseMenuItem: [Nothing, Nothing];
  closeWindow: [Nothing, Nothing];
  scanQRCode: [{ needResult?: 0 | 1; scanType?: readonly ('qrCode' | 'barCode')[] }, { resultStr: string }];
  openAddress: [Nothing, {
    userName: string; postalCode: string; provinceName: string; cityName: string; countryName: string; detailInfo: string;
    nationalCode: string; telNumber: string;
  }];
  chooseWXPay: [Pay, Nothing];
  openProductSpecificView: [{ productId: string; viewType?: 0 | 1 | 2; extInfo?: string }, Nothing];
  addCard: [{ cardList: { cardId: string; cardExt: string }[] }, { cardList: { cardId: string; cardExt: string; code: string; isSuccess: boolean }[] }];
  chooseCard: [{
    shopId?: string; cardType?: string; cardId?: string; timestamp: number; nonceStr: string; signType?: string; cardSign: string;
  }, { cardList: string }];
  openCard: [{ cardList: { cardId: string; code: string }[] }, Nothing];
  consumeAndShareCard: [{ cardId: string; code: string }, Nothing];
  startSearchBeacons: [{ ticket?: string }, Nothing];
  stopSearchBeacons: [Nothing, Nothing];
  onSearchBeacons: [Nothing, { beacons: Beacon[] }];
  openEnterpriseChat: [{ userIds?: string; externalUserIds?: string; groupName?: string }, Nothing];
  openEnterpriseRedPacket: [Pay, Nothing];
  launchMiniProgram: [{ targetAppId: string; path?: string } & Version, Nothing];
  openBusinessView: [{ businessType: string; queryString?: string } & Version, { extraData?: object }];
}

/** The name of a JS interface: a function of WeChat's script, and what `call` takes. */
export type InterfaceName = keyof Interfaces;

/**
 * What jsApiList takes: the interfaces, and what pages ask the bridge for themselves: the payee's confirmation of a transfer
 * (pay.weixin.qq.com/doc/v3/partner/4016960577), and WeCom's own.
 */
export type ListedName = InterfaceName | 'requestMerchantTransfer' | 'onMenuShareWechat' | 'previewFile' | 'selectEnterpriseContact';

/** The name of an open tag, as openTagList takes it. */
export type OpenTagName = 'wx-open-launch-weapp' | 'wx-open-launch-app' | 'wx-open-subscribe' | 'wx-open-audio';

/** An argument that may be left out where nothing in it has to be given. */
type Argument<Parameters> = Record<never, never> extends Parameters ? [parameters?: Parameters] : [parameters: Parameters];

/** Of a page inside a Mini Program (web-view). */
export interface MiniProgram {
  navigateTo(parameters: { url: string } & WxCallbacks): void;
  redirectTo(parameters: { url: string } & WxCallbacks): void;
  switchTab(parameters: { url: string } & WxCallbacks): void;
  reLaunch(parameters: { url: string } & WxCallbacks): void;
  navigateBack(parameters?: { delta?: number } & WxCallbacks): void;
  postMessage(parameters: { data: unknown } & WxCallbacks): void;
  getEnv(callback: (result: { miniprogram: boolean }) => void): void;
}

/** WeChat's script: its interfaces by name, and what wxsign itself calls. */
export type Wx = {
  [Name in InterfaceName]: (...parameters: Argument<Interfaces[Name][0] & WxCallbacks<Interfaces[Name][1]>>) => void;
} & {
  config(parameters: object): void;
  ready(callback: () => void): void;
  error(callback: (result: { errMsg: string }) => void): void;
  /** By the bridge's native name: `wx.invoke('requestMerchantTransfer', …)`. There from the first wx.config on. */
  invoke?(name: string, parameters: object, callback: (result: any) => void): void;
  on?(name: string, callback: (result: any) => void): void;
  miniProgram?: MiniProgram;
};

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
  jsApiList?: readonly ListedName[];
  /** Open tags (wx-open-launch-app …) to ask for. Default: the account's list. */
  openTagList?: readonly OpenTagName[];
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

/** A promise stands for success, fail and cancel, which would never be called. */
type CallCallbacks = Pick<WxCallbacks, 'complete' | 'trigger'> & { success?: never; fail?: never; cancel?: never };

/** Calls an interface of WeChat's by its name, after ready(); rejects with `cancelled`, `call_failed` or `no_such_interface`. */
export function call<Name extends InterfaceName>(
  name: Name,
  ...parameters: Argument<Interfaces[Name][0] & CallCallbacks>
): Promise<Interfaces[Name][1] & { errMsg: string }>;

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
