// The edits in JSONata, in turns when a line on standard input asks for it: the protocol of ../src/main.rs.
import { readFileSync } from 'node:fs';
import jsonata from 'jsonata';

const prepared = [];

async function answer(words, body) {
  if (words[0] === 'peers') return Buffer.from('jsonata\n');
  if (words[0] === 'load') {
    const program = readFileSync(new URL(`../programs/${words[2]}.jsonata`, import.meta.url), 'utf8');
    const expression = jsonata(program);
    const edit = async (record) => JSON.stringify(await expression.evaluate(JSON.parse(record)));
    const record = body.toString('utf8');
    const result = await edit(record);
    prepared.push({ record, result, edit });
    return Buffer.from(`${prepared.length - 1} ${Buffer.byteLength(result)}\n${result}`);
  }
  if (words[0] === 'turn') {
    const { record, result, edit } = prepared[Number(words[1])];
    const start = process.hrtime.bigint();
    for (let run = Number(words[2]); run > 0; run--) {
      if ((await edit(record)) !== result) throw new Error('a run wrote something else than the first one');
    }
    return Buffer.from(`${process.hrtime.bigint() - start}\n`);
  }
  throw new Error('peers | load PEER SHAPE LENGTH | turn NUMBER RUNS');
}

let buffer = Buffer.alloc(0);
for await (const chunk of process.stdin) {
  buffer = Buffer.concat([buffer, chunk]);
  for (let end = buffer.indexOf(10); end >= 0; end = buffer.indexOf(10)) {
    const words = buffer.subarray(0, end).toString().split(' ');
    const length = words[0] === 'load' ? Number(words[3]) : 0;
    if (buffer.length < end + 1 + length) break;
    const body = buffer.subarray(end + 1, end + 1 + length);
    const done = await answer(words, body).catch((error) => Buffer.from(`error ${String(error.message ?? error).replaceAll('\n', ' ')}\n`));
    process.stdout.write(done);
    buffer = buffer.subarray(end + 1 + length);
  }
}
