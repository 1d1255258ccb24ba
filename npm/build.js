// Makes what the package holds beside the files here. The core is the one client, static/wxsign.js, with its types, and CommonJS
// is made of the ES modules: nothing has a second source.
const { copyFileSync, readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const at = (name) => join(__dirname, name);
const source = (name) => readFileSync(at(name), 'utf8');
const write = (name, text) => writeFileSync(at(name), text);
const NAMES = ['ready', 'call', 'share', 'WxsignError', 'endpointBeside'];

// Takes out a part that has to be there, so that a change of the source does not go by unseen.
function without(text, part) {
  if (!part.test(text)) throw new Error(`static/wxsign.d.ts has no ${part}`);
  return text.replace(part, '');
}

// `import { a } from 'x'` and `export function b` of our own few files, as require and exports.
function commonJs(text) {
  const names = [...text.matchAll(/^export (?:function|const) (\w+)/gm)].map(([, name]) => `exports.${name} = ${name};\n`).join('');
  const whole = /^export default function (\w+)/m.exec(text);
  return text.replace(/^import (\{.*\}) from ('.*');$/gm, (_, what, from) => `const ${what} = require(${from.replace('.mjs', '.cjs')});`)
    .replace(/^export (default )?/gm, '') + names + (whole ? `module.exports = ${whole[1]};\nmodule.exports.default = ${whole[1]};\n` : '');
}

// The global and the property `endpoint` are the script's: a module has the one on its default export, and not the other.
const client = source('../static/wxsign.js');
const types = without(without(source('../static/wxsign.d.ts'), /export as namespace wxsign;\n/), /\ndeclare global \{[\s\S]*?\n\}\n/);
const named = without(types, /\/\*\* Used where no option `endpoint`.*\nexport let endpoint: string;\n/);
const face = NAMES.map((name) => `  ${name}: typeof ${name};\n`).join('');

write('index.cjs', client);
write('index.d.ts', types);
// The client hands its face to `module`, as in CommonJS; as a module of its own it needs one.
write('index.mjs', `const module = { exports: {} };\n${client}\nexport default module.exports;\nexport const { ${NAMES.join(', ')} } = module.exports;\n`);
write('index.d.mts', `${named}
declare const wxsign: {
  /** Used where no option \`endpoint\` is given: wxsign.endpoint = '/wx/jsconfig'. */
  endpoint: string;
${face}};
export default wxsign;
`);
for (const name of ['follow', 'vue', 'react', 'vite']) write(`${name}.cjs`, commonJs(source(`${name}.mjs`)));
for (const name of ['vue', 'react', 'vite']) copyFileSync(at(`${name}.d.mts`), at(`${name}.d.ts`));
copyFileSync(at('../LICENSE'), at('LICENSE'));
