// The ES module door of wxsign.js: import { ready } from 'https://sign.example.com/static/wxsign.mjs'
import * as commonjs from './wxsign.js';

const wxsign = commonjs.default || globalThis.wxsign;

// A module has no document.currentScript, so the service is found beside this file.
if (/^https?:/.test(import.meta.url)) wxsign.endpoint = wxsign.endpointBeside(import.meta.url);

export const { ready, call, share, WxsignError, endpointBeside } = wxsign;
export default wxsign;
