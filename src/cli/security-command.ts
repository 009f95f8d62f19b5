import type { Command } from 'commander';
import { declareSecurityFlags, type RawSecurityFlags } from './security-flags.ts';
import type { Session } from './session.ts';

/** Declares `quayctl security`. */
export function addSecurity(program: Command, session: Session): void {
  const command = program
    .command('security')
    .description('what vulnerabilities the packages of an image have, and which upgrades mend them')
    .argument('<image>', '[registry/]name[:tag][@digest]');
  declareSecurityFlags(command).action(async (image: string, flags: RawSecurityFlags) => {
    const { runSecurity } = await import('./security.ts');
    await runSecurity(image, flags, session);
  });
}
