import { CHALLENGES } from './challenges.ts';
import { defineTests } from './define-tests.ts';

defineTests('conformance: challenges', CHALLENGES);
