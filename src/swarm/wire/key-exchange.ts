import { randomBytes } from 'node:crypto';

/** Message Stream Encryption's group: 768 bits, generator 2. */
const PRIME = BigInt(
  '0xffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563',
);
const GENERATOR = 2n;
const GROUP_BYTES = 96;
/** The specification's advice for the secret exponent. */
const SECRET_BYTES = 20;

/**
 * The Diffie-Hellman exchange of one encrypted handshake. In place of node:crypto's, which checks the group for 20 ms
 * each time that it is named: with 50 connections at the start of a pull that is a second of a core. The handshake
 * hides and does not authenticate, so a multiplication whose time depends on the secret gives nothing away that counts.
 */
export class KeyExchange {
  readonly #secret = toNumber(randomBytes(SECRET_BYTES));

  generateKeys(): Uint8Array {
    return toBytes(power(GENERATOR, this.#secret));
  }

  /** @param theirs a public key, 96 bytes */
  computeSecret(theirs: Uint8Array): Uint8Array {
    return toBytes(power(toNumber(theirs) % PRIME, this.#secret));
  }
}

/** Square and multiply, modulo the prime. */
function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  let square = base;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % PRIME;
    square = (square * square) % PRIME;
  }
  return result;
}

function toNumber(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

function toBytes(value: bigint): Uint8Array {
  return Buffer.from(value.toString(16).padStart(GROUP_BYTES * 2, '0'), 'hex');
}
