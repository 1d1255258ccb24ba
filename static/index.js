// The start page's examples carry the address under which the reader has opened it.
(function () {
  'use strict';

  document.querySelectorAll('[data-origin]').forEach((place) => { place.textContent = location.origin; });
})();
