/*
 * What a friend gets to see of a share card, and why that is not what the page set.
 *
 * That the link must be of the page's own domain, or the call fails and the default card is sent, is WeChat's notice of 25 April 2017.
 * That a picture needs an absolute http(s) address, and what stands in a blank field, is what users report.
 */
(function () {
  'use strict';

  const REMARKS = {
    foreign_link: ['链接 {link} 不在本页面的域名下：调用失败，分享出去的是默认卡片',
      'the link {link} is not of this page’s domain: the call fails, and the default card is sent'],
    relative_link: ['链接 {link} 不是完整的 http(s) 地址：调用失败，分享出去的是默认卡片',
      'the link {link} is no absolute http(s) address: the call fails, and the default card is sent'],
    no_link: ['没有 link：用的是本页面的地址', 'no link: this page’s address is taken'],
    login_code: ['链接里有 code 或 state：朋友打开时登录码已经失效', 'the link carries code or state: that log-in is used up when a friend opens it'],
    unusable_picture: ['图片 {imgUrl} 不是完整的 http(s) 地址：卡片没有图片', 'the picture {imgUrl} is no absolute http(s) address: the card has none'],
    no_picture: ['没有 imgUrl：卡片没有图片', 'no imgUrl: the card has no picture'],
    no_title: ['没有标题：显示本页面的标题', 'no title: this page’s title is shown'],
    no_desc: ['没有描述：显示链接', 'no desc: the link is shown in its place'],
  };

  // The address as one of http or https, or null; a relative one is none.
  function absolute(address) {
    try {
      const url = new URL(address);
      return /^https?:$/.test(url.protocol) ? url : null;
    } catch (error) {
      return null;
    }
  }

  // Whether two hosts are one domain or its sub-domain.
  function related(one, other) {
    return one === other || one.endsWith(`.${other}`) || other.endsWith(`.${one}`);
  }

  // Why WeChat refuses a card's link, or ''.
  function linkFault(link, page) {
    if (!link) return '';
    const url = absolute(link);
    if (!url) return 'relative_link';
    return related(url.hostname, new URL(page.href).hostname) ? '' : 'foreign_link';
  }

  // What is sent for the card that a page set, with the codes of what was changed. `page`: {title, href}.
  function shareCard(given, page, timeline) {
    const set = { title: given.title, desc: given.desc, link: given.link, imgUrl: given.imgUrl || given.img_url };
    Object.keys(set).forEach((name) => { set[name] = String(set[name] || '').trim(); });
    const found = [];
    const fault = linkFault(set.link, page);
    if (fault) return { title: page.title, desc: page.href, link: page.href, imgUrl: '', refused: true, remarks: [remark(fault, set)] };
    const note = (code) => found.push(remark(code, set));
    if (!set.link) note('no_link');
    else if (/[?&](code|state)=/.test(set.link)) note('login_code');
    if (!set.imgUrl) note('no_picture');
    else if (!absolute(set.imgUrl)) note('unusable_picture');
    if (!set.title) note('no_title');
    if (!set.desc && !timeline) note('no_desc');
    const link = set.link || page.href;
    const desc = timeline ? '' : set.desc || link;
    return { title: set.title || page.title, desc, link, imgUrl: absolute(set.imgUrl) ? set.imgUrl : '', refused: false, remarks: found };
  }

  // A remark: code, and its sentence in both languages.
  function remark(code, set) {
    const [zh, en] = REMARKS[code].map((words) => words.replace(/\{(\w+)\}/g, (_, name) => set[name].slice(0, 200)));
    return { code, zh, en };
  }

  Object.assign(window.wxsignSandbox, { shareCard, linkFault });
})();
