import { Option, type Command } from 'commander';
import type { Session } from './session.ts';

/** `login` and `logout`. */
export function addLogin(program: Command, session: Session): void {
  program
    .command('login')
    .description("keep a registry's credential in the keychain, else where docker login keeps it")
    .argument('<registry>')
    .option('-u, --username <name>')
    .option('--password-stdin', 'read the password from stdin')
    .option('--insecure', 'plain HTTP to the registry')
    .action(
      async (registry: string, flags: { username?: string; passwordStdin?: boolean; insecure?: boolean }) => {
        const { login } = await import('./login-command.ts');
        await login(registry, flags, session);
      },
    );
  program
    .command('logout')
    .description('forget the credential that login keeps')
    .argument('<registry>')
    .action(async (registry: string) => {
      const { logout } = await import('./login-command.ts');
      await logout(registry, session);
    });
}

/** `store` and its commands. */
export function addStore(program: Command, session: Session): void {
  const store = program.command('store').description('the local blob store');
  const dir = (): Option =>
    new Option('--store <dir>', 'the local store (default: $XDG_CACHE_HOME/quayctl)').env('QUAYCTL_STORE');
  store
    .command('ls')
    .description('list the images that the store holds')
    .addOption(dir())
    .option('--json', 'as JSON')
    .action(async (flags: { store?: string; json?: boolean }) => {
      const { listStore } = await import('./store.ts');
      await listStore(flags, session);
    });
  store
    .command('rm')
    .description('remove an image')
    .argument('<image>')
    .addOption(dir())
    .action(async (image: string, flags: { store?: string }) => {
      const { removeFromStore } = await import('./store.ts');
      await removeFromStore(image, flags, session);
    });
  store
    .command('share')
    .description("let a group use the store: the seed unit, root's pulls and users then have one")
    .requiredOption('--group <group>', 'whoever is in it may read and write the store')
    .option('--store <dir>', 'the store to share (default: /var/lib/quayctl/store)')
    .action(async (flags: { store?: string; group: string }) => {
      const { shareWithGroup } = await import('./store.ts');
      await shareWithGroup(flags, session);
    });
  store
    .command('gc')
    .description('shrink the store, least recently used first')
    .addOption(dir())
    .option('--max-size <size>', 'down to this, and remembered as the limit: 500M, 20G, 10Gi, 20%')
    .option('--dry-run', 'only say what would be removed')
    .option('--json', 'as JSON')
    .action(async (flags: { store?: string; maxSize?: string; dryRun?: boolean; json?: boolean }) => {
      const { collectGarbage } = await import('./store.ts');
      await collectGarbage(flags, session);
    });
}
