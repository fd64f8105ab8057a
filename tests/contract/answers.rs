//! Single answers: errors, tokens that see too little, what remains of a dead agent.
