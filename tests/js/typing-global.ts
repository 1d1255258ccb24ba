// Checked by `npm run types`, never run: the global that a classic script tag leaves.
void window.wxsign.ready({ account: 'shop' }).then(({ wx }) => wx.hideOptionMenu());
// @ts-expect-error there is no such function
window.wxsign.start();
