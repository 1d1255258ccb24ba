// Checked by `npm run types`, never run: the ES module door as TypeScript sees it.
import wxsign, { ready, WxsignError, type JsConfig, type Options, type Step } from '../../static/wxsign.mjs';

const options: Options = {
  endpoint: 'https://sign.example.com/jsconfig',
  account: 'shop',
  jsApiList: ['scanQRCode'] as const,
  timeoutMs: 5000,
  onStep: (step: Step) => console.log(step.name, step.state, step.ms),
};

export async function scan(): Promise<string> {
  try {
    const { wx, config, warnings } = await ready(options);
    const answer: JsConfig = config;
    warnings.forEach((warning) => console.warn(warning.code, warning.hint));
    wx.scanQRCode({ needResult: 1, success: (result: { resultStr: string }) => console.log(result.resultStr) });
    return answer.signature;
  } catch (error) {
    if (error instanceof WxsignError && error.code === 'invalid_signature') return error.errMsg;
    throw error;
  }
}

// @ts-expect-error a time-out is a number of milliseconds
void wxsign.ready({ timeoutMs: '5 s' });
// @ts-expect-error misspelt options are found
void wxsign.ready({ jsApilist: [] });
// @ts-expect-error no interface has this name
void wxsign.call('scanQrcode', {});
// @ts-expect-error nor has one this parameter
void wxsign.call('updateAppMessageShareData', { titel: 'x' });
// @ts-expect-error misspelt in the list as well
void wxsign.ready({ jsApiList: ['updateAppMessageSharData'] });
void wxsign.ready().then(({ wx }) => {
  // @ts-expect-error and on WeChat's own object
  wx.updateAppMessageSharData({ title: 'x' });
  // @ts-expect-error with a parameter that it does not take
  wx.updateTimelineShareData({ titel: 'x' });
  wx.updateTimelineShareData({ title: 'x', success: ({ errMsg }) => console.log(errMsg) });
});
void wxsign.call('getLocation', { type: 'gcj02' }).then(({ latitude, longitude }) => latitude + longitude);
wxsign.endpoint = '/wx/jsconfig';
