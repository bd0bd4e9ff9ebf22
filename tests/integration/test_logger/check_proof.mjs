// Checks proofs of `metaexpert logs prove`, with nothing but Node.js: its Ed25519 and SHA-256.
//
// Written from RFC 6962 (2.1), RFC 9162 (2.1.3.2), the pages of C2SP and docs/seal.md, without a look at the program
// that makes the proofs. Reads JSON, [[proof, verification key or null], ...], and writes for each what is wrong with
// it, or null.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest();

function must(condition, problem) {
  if (!condition) throw new Error(problem);
}

// RFC 4648, section 4: one spelling for each value.
function base64(text, length) {
  const bytes = Buffer.from(text, "base64");
  must(bytes.toString("base64") === text, "base64");
  must(length === undefined || bytes.length === length, "length");
  return bytes;
}

// C2SP signed-note: decimal numbers without zeros in front (tlog-checkpoint, tlog-proof).
function decimal(text) {
  must(/^(0|[1-9][0-9]*)$/.test(text ?? ""), "number");
  return BigInt(text);
}

function signedBy(key, message, signature) {
  const prefix = Buffer.from("302a300506032b6570032100", "hex"); // RFC 8410: SubjectPublicKeyInfo of Ed25519
  const parsed = createPublicKey({ key: Buffer.concat([prefix, key]), format: "der", type: "spki" });
  return verify(null, message, parsed, signature);
}

const keyId = (name, key) => sha256(`${name}\n`, Buffer.from([1]), key).subarray(0, 4);

// C2SP signed-note: NAME+HASH+BASE64 of the type (1, Ed25519) and the key.
function verifier(text) {
  must(typeof text === "string", "key");
  const [, name, hash, encoded] = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text) ?? must(false, "key");
  const bytes = base64(encoded, 33);
  must(bytes[0] === 1 && keyId(name, bytes.subarray(1)).toString("hex") === hash, "key");
  return [name, bytes.subarray(1)];
}

// docs/seal.md, "Keys": from the root to the key of a seal, each signs the two below it.
function keyOfSeal(root, number, certificates) {
  must(Number.isInteger(number) && number >= 0 && number < 2 ** 20 && certificates.length === 20, "seal");
  const path = number.toString(2).padStart(20, "0");
  return certificates.reduce((key, text, depth) => {
    const step = [key.toString("hex"), path.slice(0, depth + 1), text].join(" ");
    if (vouched.has(step)) return vouched.get(step);
    const certificate = base64(text, 128);
    const message = `metaexpert seal certificate v1\n${path.slice(0, depth)}\n`;
    const signed = Buffer.concat([Buffer.from(message), certificate.subarray(0, 64)]);
    must(signedBy(key, signed, certificate.subarray(64)), "certificate");
    vouched.set(step, path[depth] === "0" ? certificate.subarray(0, 32) : certificate.subarray(32, 64));
    return vouched.get(step);
  }, root);
}
const vouched = new Map(); // what was found before: most of what is asked differs elsewhere

// RFC 9162, 2.1.3.2.
function rootOf(leaf, index, size, path) {
  must(index < size, "index");
  let [fn, sn, hash] = [index, size - 1n, leaf];
  for (const other of path) {
    must(sn !== 0n, "path");
    if (fn & 1n || fn === sn) {
      hash = sha256(Buffer.from([1]), other, hash);
      while (!(fn & 1n) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      hash = sha256(Buffer.from([1]), hash, other);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  must(sn === 0n, "path");
  return hash;
}

// C2SP tlog-checkpoint in a signed-note, signed by the key of the seal.
function checkpoint(note, name, key) {
  must(!/[\x00-\x09\x0b-\x1f]/.test(note) && note.isWellFormed() && note.endsWith("\n"), "note");
  const cut = note.lastIndexOf("\n\n");
  must(cut > 0, "note");
  const text = note.slice(0, cut + 1);
  const signatures = note.slice(cut + 2, -1).split("\n").map((line) => /^\u2014 (\S+) (\S+)$/.exec(line) ?? must(false, "signature"));
  const read = signatures.map(([, by, encoded]) => [by, base64(encoded)]);
  must(read.every(([, bytes]) => bytes.length > 4), "signature");
  const known = read.filter(([by, bytes]) => by === name && keyId(name, key).equals(bytes.subarray(0, 4)));
  must(known.length && known.every(([, bytes]) => signedBy(key, Buffer.from(text), bytes.subarray(4))), "signature");
  const [origin, size, root, ...extensions] = text.slice(0, -1).split("\n");
  must(origin === name && extensions.every((line) => line !== ""), "checkpoint");
  return [decimal(size), base64(root, 32)];
}

// C2SP tlog-proof.
function check(text, given) {
  const cut = text.indexOf("\n\n");
  const [format, extra, index, ...path] = text.slice(0, cut).split("\n");
  must(format === "c2sp.org/tlog-proof@v1" && extra.startsWith("extra ") && index?.startsWith("index "), "proof");
  const told = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(base64(extra.slice(6))));
  const own = verifier(told.key);
  const [name, root] = given ? verifier(given) : own;
  const [size, hash] = checkpoint(text.slice(cut + 2), name, keyOfSeal(root, told.seal, told.certificates));
  const leaf = sha256(Buffer.from([0]), Buffer.from(told.line));
  must(rootOf(leaf, decimal(index.slice(6)), size, path.map((line) => base64(line, 32))).equals(hash), "root");
}

function problem([text, given]) {
  try {
    check(text, given);
    return null;
  } catch (error) {
    return error.message || "wrong";
  }
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(problem)));
