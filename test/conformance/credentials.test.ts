import { CREDENTIALS } from './credentials.ts';
import { defineTests } from './define-tests.ts';

defineTests('conformance: credentials', CREDENTIALS);
