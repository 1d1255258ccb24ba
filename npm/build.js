// Makes the package's core from the one client, static/wxsign.js, and its types: there is no second source.
const { readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const source = (name) => readFileSync(join(__dirname, '../static', name), 'utf8');
const write = (name, text) => writeFileSync(join(__dirname, name), text);

const client = source('wxsign.js');
const types = source('wxsign.d.ts');
const names = ['ready', 'call', 'share', 'WxsignError', 'endpointBeside'];
write('index.cjs', client);
// The client hands its face to `module`, as in CommonJS; as a module of its own it needs one.
write('index.mjs', `const module = { exports: {} };\n${client}\nexport default module.exports;\nexport const { ${names.join(', ')} } = module.exports;\n`);
// The global is the script tag's, and the declaration of a module has none.
const shared = types.replace(/export as namespace wxsign;\n/, '').replace(/declare global \{[\s\S]*?\n\}\n/, '');
write('index.d.ts', shared);
write('index.d.mts', `${shared}\ndeclare const wxsign: { endpoint: string; ready: typeof ready; call: typeof call; share: typeof share; WxsignError: typeof WxsignError; endpointBeside: typeof endpointBeside };\nexport default wxsign;\n`);
