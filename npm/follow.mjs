// What both frameworks need of the client: the state of the page, from the first signature through every route change.
import { ready } from 'wxsign';

export const LOADING = { state: 'loading', error: null, outcome: null };

export const sign = (options) => ready({ follow: true, ...options });

// Signs, and tells what changes; returns what ends the telling. The client signs again after a route change by itself (`follow`),
// and says so on the document.
export function follow(options, tell) {
  const loading = () => tell({ state: 'loading' });
  const green = ({ detail }) => tell({ state: 'ready', error: null, outcome: detail });
  const red = ({ detail }) => tell({ state: 'error', error: detail, outcome: null });
  const heard = [['wxsign:loading', loading], ['wxsign:ready', green], ['wxsign:error', red]];
  let ended = false;
  heard.forEach(([name, listener]) => document.addEventListener(name, listener));
  // A run that ended before this component was there is told by the promise alone.
  sign(options).then((detail) => ended || green({ detail }), (detail) => ended || red({ detail }));
  return () => {
    ended = true;
    heard.forEach(([name, listener]) => document.removeEventListener(name, listener));
  };
}
