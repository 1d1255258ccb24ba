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
wxsign.endpoint = '/wx/jsconfig';
