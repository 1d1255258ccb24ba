/** Types of wxsign.mjs: those of wxsign.js. */
export { ready, call, share, WxsignError, endpointBeside } from './wxsign.js';
export type * from './wxsign.js';

declare const wxsign: typeof import('./wxsign.js');
export default wxsign;
